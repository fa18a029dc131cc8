//! How sandboxes are made and ended on this machine.
