//! The binary as its users meet it: what it prints, and with which code it ends.

mod exit_codes;
mod help;
mod keys;
mod support;
