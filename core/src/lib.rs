//! The Daytona client: configuration, transport, errors and every operation.
