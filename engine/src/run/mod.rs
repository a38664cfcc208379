//! The conductor: from files to a sealed run folder.
