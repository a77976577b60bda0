//! A client that was used before its process forked.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn a_forked_child_asks_on_connections_of_its_own() {
    let (mock, client) = started();
    mock.register("orders-value", ORDER).unwrap();
    mock.register("invoices-value", "\"string\"").unwrap();
    client.schema_blocking(1).unwrap();
    // SAFETY: the child touches nothing that another thread of this process may have locked, and
    // leaves by `_exit` without unwinding into the test harness.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = catch_unwind(AssertUnwindSafe(|| client.schema_blocking(2)));
        let right = matches!(outcome, Ok(Ok(found)) if found.schema == "\"string\"");
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    assert!(child > 0, "fork failed");
    let mut status = -1;
    eventually("the child comes back", || {
        // SAFETY: `status` is ours to write, and the child is not waited for anywhere else.
        unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) == child }
    });
    assert_eq!(status, 0, "the child found the schema");
    assert_eq!(
        client.schema_blocking(2).unwrap().schema,
        "\"string\"",
        "and so does the parent"
    );
}
