//! A thread of its own, with settings of its own, on which batches of this library run.

use crate::batch::{elsewhere, Batch};
use crate::offer::Able;
use hardswitch::Settings;
use std::sync::mpsc;
use std::thread;

/// Runs batches that are prepared on such a thread.
pub fn stage(settings: Settings, prepare: impl FnOnce() -> Batch + Send + 'static) -> Able {
    let (ask, asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || {
        settings
            .apply()
            .expect("the thread is new and the settings are sound");
        let mut batch = prepare();
        for operations in asked {
            if answer.send(elsewhere(|| batch(operations))).is_err() {
                return;
            }
        }
    });
    Able::new(move |operations| {
        ask.send(operations).expect("the stage waits for work");
        answered.recv().expect("the stage answers")
    })
}
