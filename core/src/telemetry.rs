//! What every public operation runs through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::error::Result;
use crate::operation::Operation;

pin_project_lite::pin_project! {
    /// One public operation under way: its errors name it.
    #[must_use = "futures do nothing unless awaited"]
    pub(crate) struct Observed<F> {
        #[pin]
        work: F,
        operation: Operation,
    }
}

/// Runs a public operation. Operations do not nest: what one does inside is not observed by itself.
pub(crate) fn observe<T, F: Future<Output = Result<T>>>(operation: Operation, work: F) -> Observed<F> {
    Observed { work, operation }
}

impl<T, F: Future<Output = Result<T>>> Future for Observed<F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.work.poll(context));
        Poll::Ready(result.map_err(|error| error.with_operation(*this.operation)))
    }
}
