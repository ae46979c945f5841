//! A call as the pool sees it: something to run, or to cancel.

use crate::core::contain::contain;
use std::sync::Arc;
use std::time::Duration;

/// A call as workers see it.
pub trait Work: Send + Sync {
    /// Makes the call, or cancels it. `soon` is called when the only thing left is to tell the
    /// tasklet.
    fn run(&self, go: Go, soon: &dyn Fn());
}

/// Tells a job whether to run, or to report that it will not.
#[derive(Clone, Copy)]
pub enum Go {
    Run,
    Cancel,
}

/// A call that no worker has begun.
pub struct Job {
    pub work: Arc<dyn Work>,
    /// How long its caller would spin for the outcome; the worker spins as long for the next job.
    pub spin: Duration,
}

/// Runs a job. Only destructors can still panic here.
pub fn run(job: Job, go: Go, soon: &dyn Fn()) {
    contain("a job of a worker pool", move || {
        job.work.run(go, soon);
        drop(job);
    });
}
