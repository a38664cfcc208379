//! The binary as its users meet it: what it prints, and with which code it ends.

mod again;
mod alerts;
mod capture;
mod exit_codes;
mod help;
mod keys;
mod proofs;
mod receivers;
mod rules;
mod runs;
mod secrets;
mod support;
