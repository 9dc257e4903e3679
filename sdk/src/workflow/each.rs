//! Many things, some at a time.

use std::future::Future;

use futures_util::{StreamExt as _, stream};

/// Does `work` for each of `items`, at most `limit` at a time; the outcomes in the order of the items.
pub async fn each<T, R, F: Future<Output = R>>(
    items: impl IntoIterator<Item = T>,
    limit: usize,
    work: impl FnMut(T) -> F,
) -> Vec<R> {
    stream::iter(items.into_iter().map(work)).buffered(limit.max(1)).collect().await
}
