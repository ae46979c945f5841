//! What a peer answers when it is asked for a case.

use crate::batch::Batch;
use std::time::Duration;

/// An implementation that can do a timed case.
pub struct Offer {
    pub implementation: &'static str,
    pub note: Option<String>,
    pub batch: Batch,
}

/// An implementation that could, if it were here.
pub struct Skipped {
    pub implementation: &'static str,
    pub why: String,
}

/// A peer's answer to a timed case: nothing to do with it, or able, or it would be if
/// something were not missing.
pub type Timed = Option<Result<Able, String>>;

pub struct Able {
    pub batch: Batch,
    pub note: Option<String>,
}

impl Able {
    pub fn new(batch: impl FnMut(u64) -> Duration + 'static) -> Able {
        Able {
            batch: Box::new(batch),
            note: None,
        }
    }

    /// Keeps something alive for as long as it is measured.
    pub fn keeping(self, kept: impl Sized + 'static) -> Able {
        let mut batch = self.batch;
        let keeping = move |operations| {
            let _kept = &kept;
            batch(operations)
        };
        Able {
            batch: Box::new(keeping),
            ..self
        }
    }

    /// What a reader of its row must know.
    pub fn noting(self, note: impl Into<String>) -> Able {
        Able {
            note: Some(note.into()),
            ..self
        }
    }
}
