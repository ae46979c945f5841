//! The list of those that take part; each library has a file.

#[cfg(target_arch = "x86_64")]
mod boost;
#[cfg(target_arch = "x86_64")]
mod context;
#[cfg(target_arch = "x86_64")]
mod corosensei;
#[cfg(target_arch = "x86_64")]
mod crossbeam;
mod curl;
#[cfg(target_arch = "x86_64")]
mod generator;
mod go;
mod greenlet;
mod hardswitch;
mod hardswitch_net;
#[cfg(target_arch = "x86_64")]
mod may;
mod memcpy;
mod outside;
mod poll;
mod stage;
mod std_net;
#[cfg(target_arch = "x86_64")]
mod tokio;
#[cfg(target_arch = "x86_64")]
mod tokio_net;
mod wake;

use crate::cases::Case;
use crate::herd::{Herd, Shepherd, CHILD};
use crate::offer::{Able, DownloadPlace, Downloader, Idler, Offer, Skipped, Timed};
use std::process::Command;

/// How a peer keeps a herd.
struct Keeper {
    /// The most tasks that it can have on an ordinary machine.
    most: u64,
    note: &'static str,
    place: Place,
}

enum Place {
    /// In a process of this program.
    Here(fn() -> Box<dyn Herd>),
    /// In another program; or the reason why there is none.
    There(fn() -> Result<Command, String>),
}

struct Peer {
    name: &'static str,
    timed: fn(Case) -> Timed,
    herd: Option<Keeper>,
}

/// A stack of its own mapping plus a guard page makes two mappings, and Linux allows a
/// process 65,530 (`vm.max_map_count`).
#[cfg(target_arch = "x86_64")]
const GUARDED_STACKS: u64 = 30_000;

fn peers() -> Vec<Peer> {
    vec![
        Peer {
            name: "hardswitch",
            timed: hardswitch::timed,
            herd: Some(Keeper {
                most: u64::MAX,
                note: "",
                place: Place::Here(hardswitch::herd),
            }),
        },
        Peer {
            name: "hardswitch-sliced",
            timed: hardswitch::timed_sliced,
            herd: None,
        },
        Peer {
            name: "hardswitch-sync",
            timed: wake::timed_tasklet,
            herd: None,
        },
        Peer {
            name: "hardswitch-asleep",
            timed: hardswitch::timed_asleep,
            herd: None,
        },
        Peer {
            name: "hardswitch-poll",
            timed: nothing,
            herd: None,
        },
        Peer {
            name: "hardswitch-60hz",
            timed: nothing,
            herd: None,
        },
        Peer {
            name: "hardswitch-thread",
            timed: hardswitch::timed_thread,
            herd: None,
        },
        Peer {
            name: "std",
            timed: wake::timed_std,
            herd: None,
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "parking_lot",
            timed: wake::timed_parking_lot,
            herd: None,
        },
        Peer {
            name: "poll",
            timed: poll::timed_raw,
            herd: None,
        },
        Peer {
            name: "curl",
            timed: nothing,
            herd: None,
        },
        Peer {
            name: "memcpy",
            timed: memcpy::timed,
            herd: None,
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "corosensei",
            timed: corosensei::timed,
            herd: Some(Keeper {
                most: u64::MAX,
                note: "4 KiB heap stacks without guard",
                place: Place::Here(corosensei::herd),
            }),
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "corosensei-called",
            timed: corosensei::timed_called,
            herd: None,
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "corosensei+memcpy",
            timed: corosensei::timed_with_copies,
            herd: None,
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "context",
            timed: context::timed,
            herd: Some(Keeper {
                most: u64::MAX,
                note: "4 KiB heap stacks without guard",
                place: Place::Here(context::herd),
            }),
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "generator",
            timed: generator::timed,
            herd: Some(Keeper {
                most: GUARDED_STACKS,
                note: "8 KiB stacks with guard page",
                place: Place::Here(generator::herd),
            }),
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "boost-context",
            timed: boost::timed_context,
            herd: Some(Keeper {
                most: u64::MAX,
                note: "4 KiB heap stacks without guard",
                place: Place::There(boost::herd_context),
            }),
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "boost-fiber",
            timed: boost::timed_fiber,
            herd: Some(Keeper {
                most: 200_000,
                note: "16 KiB heap stacks without guard",
                place: Place::There(boost::herd_fiber),
            }),
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "may",
            timed: may::timed,
            herd: Some(Keeper {
                most: GUARDED_STACKS,
                note: "8 KiB stacks with guard page",
                place: Place::Here(may::herd),
            }),
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "tokio",
            timed: tokio::timed,
            herd: Some(Keeper {
                most: u64::MAX,
                note: "a oneshot each",
                place: Place::Here(tokio::herd),
            }),
        },
        Peer {
            name: "go",
            timed: go::timed,
            herd: Some(Keeper {
                most: u64::MAX,
                note: "",
                place: Place::There(go::herd),
            }),
        },
        Peer {
            name: "go-locked",
            timed: go::timed_locked,
            herd: None,
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "tokio-apart",
            timed: tokio::timed_apart,
            herd: None,
        },
        #[cfg(target_arch = "x86_64")]
        Peer {
            name: "crossbeam",
            timed: crossbeam::timed,
            herd: None,
        },
        Peer {
            name: "greenlet",
            timed: greenlet::timed,
            herd: Some(Keeper {
                most: u64::MAX,
                note: "with CPython's interpreter",
                place: Place::There(greenlet::herd),
            }),
        },
        Peer {
            name: "libaco",
            timed: no_libaco,
            herd: None,
        },
    ]
}

/// It takes part in other cases only.
fn nothing(_: Case) -> Timed {
    None
}

/// Those that hold idle connections.
pub fn idlers() -> Vec<Idler> {
    let ours = hardswitch_net::idlers();
    #[cfg(target_arch = "x86_64")]
    let others = [tokio_net::idler()];
    #[cfg(not(target_arch = "x86_64"))]
    let others = [];
    ours.into_iter().chain(others).collect()
}

/// Those that download.
pub fn downloaders() -> Vec<Downloader> {
    let here = |implementation, note, download| Downloader {
        implementation,
        note,
        place: DownloadPlace::Here(download),
    };
    vec![
        here(
            "hardswitch",
            "net::http in a tasklet",
            hardswitch_net::download,
        ),
        here(
            "hardswitch-60hz",
            "a tick_for of 8 ms in each of 60 frames a second",
            hardswitch_net::download_in_frames,
        ),
        here("std", "a socket that blocks", std_net::download),
        Downloader {
            implementation: "curl",
            note: "",
            place: DownloadPlace::There(curl::download),
        },
    ]
}

/// Share-stack copying in C is not in a crate nor in Debian; a table without it should
/// say so where it would stand.
fn no_libaco(case: Case) -> Timed {
    matches!(case, Case::SlicedSwitch(_)).then(|| {
        Err("share-stack copying (libaco, libco): no crate and no Debian package has it".into())
    })
}

pub fn names() -> Vec<&'static str> {
    peers().iter().map(|peer| peer.name).collect()
}

pub fn timed(case: Case, wants: impl Fn(&str) -> bool) -> Vec<Result<Offer, Skipped>> {
    let wanted = peers().into_iter().filter(|peer| wants(peer.name));
    let offers = wanted.filter_map(|peer| {
        let implementation = peer.name;
        Some(match (peer.timed)(case)? {
            Ok(Able { batch, note }) => Ok(Offer {
                implementation,
                note,
                batch,
            }),
            Err(why) => Err(Skipped {
                implementation,
                why,
            }),
        })
    });
    offers.collect()
}

pub fn herds(case: Case, wants: impl Fn(&str) -> bool) -> Vec<Result<Shepherd, Skipped>> {
    let wanted = peers()
        .into_iter()
        .filter(|peer| wants(peer.name) && (case != Case::Parked10M || peer.name == "hardswitch"));
    let shepherds = wanted.filter_map(|peer| {
        let implementation = peer.name;
        let Keeper { most, note, place } = peer.herd?;
        let command = match place {
            Place::Here(_) => {
                // This very program, even if it was built anew since it was started.
                let mut command = Command::new("/proc/self/exe");
                command.args([CHILD, implementation]);
                Ok(command)
            }
            Place::There(command) => command(),
        };
        let note = (!note.is_empty()).then(|| note.to_string());
        Some(match command {
            Ok(command) => Ok(Shepherd {
                implementation,
                most,
                note,
                command,
            }),
            Err(why) => Err(Skipped {
                implementation,
                why,
            }),
        })
    });
    shepherds.collect()
}

pub fn herd(name: &str) -> Option<Box<dyn Herd>> {
    match peers()
        .into_iter()
        .find(|peer| peer.name == name)?
        .herd?
        .place
    {
        Place::Here(start) => Some(start()),
        Place::There(_) => None,
    }
}
