//! The waits for descriptors: a place for each descriptor, with its waits in the order in which
//! they began.

use super::Waiter;
use crate::poll::shim::{Events, Fd};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Places that are made at once. Descriptors are small numbers: the system gives the lowest one
/// that is free.
const CHUNK: usize = 64;

/// One descriptor.
#[derive(Default)]
pub struct Place {
    /// The oldest wait. Most descriptors have one, or none.
    first: Option<Rc<Waiter>>,
    /// The younger ones, by age.
    more: BTreeMap<u64, Rc<Waiter>>,
    /// The events that the system's epoll instance was told to look for; `None`: it does not know
    /// the descriptor.
    pub told: Option<Events>,
    /// Is it in the list of those that epoll is to be told about?
    pub listed: bool,
    /// Somebody else may have closed the descriptor since epoll was told, and opened it anew.
    pub doubtful: bool,
    /// Distinguishes what was told from what was told about an earlier descriptor of that number.
    pub generation: u32,
}

impl Place {
    /// The waits that are not over. One for several descriptors is still here for a moment when
    /// another of them has ended it.
    fn waiters(&self) -> impl Iterator<Item = &Rc<Waiter>> {
        let all = self.first.iter().chain(self.more.values());
        all.filter(|waiter| waiter.wake.get().is_none())
    }

    pub fn is_waited_for(&self) -> bool {
        self.waiters().next().is_some()
    }

    /// All events that somebody waits for.
    pub fn wanted(&self) -> Events {
        self.waiters()
            .fold(Events::NONE, |all, waiter| all | waiter.wanted())
    }

    fn insert(&mut self, waiter: Rc<Waiter>) {
        match self.first {
            None => self.first = Some(waiter),
            Some(_) => {
                self.more.insert(waiter.id, waiter);
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<Rc<Waiter>> {
        match &self.first {
            Some(first) if first.id == id => {
                let next = self.more.pop_first().map(|(_, waiter)| waiter);
                std::mem::replace(&mut self.first, next)
            }
            _ => self.more.remove(&id),
        }
    }

    /// Adds to `ready` those that wait for one of the events `is`, which nobody uses up.
    pub fn pick_all(&self, is: Events, ready: &mut Vec<(Rc<Waiter>, Events)>) {
        let waiting = self
            .waiters()
            .filter(|waiter| waiter.wanted().intersects(is));
        ready.extend(waiting.map(|waiter| (waiter.clone(), is)));
    }

    /// Adds to `ready` those whose waits end when the descriptor `is` so.
    ///
    /// What one of them can use up, such as data or a connection that came, ends the oldest wait
    /// for it alone. If there is more of it, the next pump finds the descriptor ready again.
    /// Returns whether somebody waits on for what is there.
    pub fn pick(&self, is: Events, ready: &mut Vec<(Rc<Waiter>, Events)>) -> bool {
        let (mut left, mut waits_on) = (is, false);
        for waiter in self.waiters() {
            if !waiter.is_ended_by(left) {
                waits_on |= waiter.is_ended_by(is);
            } else {
                ready.push((waiter.clone(), is));
                let used = waiter.wanted() & Events::ALWAYS.complement();
                left = left & used.complement();
            }
        }
        waits_on
    }
}

/// The waits of a thread for descriptors.
#[derive(Default)]
pub struct Descriptors {
    chunks: Vec<Option<Box<[Place; CHUNK]>>>,
    count: usize,
}

impl Descriptors {
    /// How many waits there are.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn split(fd: Fd) -> Option<(usize, usize)> {
        let number = usize::try_from(fd).ok()?;
        Some((number / CHUNK, number % CHUNK))
    }

    pub fn get(&mut self, fd: Fd) -> Option<&mut Place> {
        let (chunk, place) = Self::split(fd)?;
        Some(&mut self.chunks.get_mut(chunk)?.as_mut()?[place])
    }

    /// The place of a descriptor, which must not be negative.
    pub fn place(&mut self, fd: Fd) -> &mut Place {
        let (chunk, place) = Self::split(fd).expect("a descriptor is not negative");
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let places = self.chunks[chunk]
            .get_or_insert_with(|| Box::new(std::array::from_fn(|_| Place::default())));
        &mut places[place]
    }

    pub fn insert(&mut self, fd: Fd, waiter: Rc<Waiter>) -> &mut Place {
        self.count += 1;
        let place = self.place(fd);
        place.insert(waiter);
        place
    }

    /// Takes a wait away, if it is there.
    pub fn remove(&mut self, fd: Fd, id: u64) -> Option<Rc<Waiter>> {
        let waiter = self.get(fd)?.remove(id);
        self.count -= usize::from(waiter.is_some());
        waiter
    }

    /// All waits for a descriptor, the oldest first.
    pub fn of(&mut self, fd: Fd) -> Vec<Rc<Waiter>> {
        self.get(fd)
            .map_or_else(Vec::new, |place| place.waiters().cloned().collect())
    }

    /// The places that exist, from the descriptor `first` on.
    pub fn places_from(&mut self, first: Fd) -> impl Iterator<Item = (Fd, &mut Place)> {
        let (skip, _) = Self::split(first).unwrap_or_default();
        let chunks = self.chunks.iter_mut().enumerate().skip(skip);
        chunks
            .filter_map(|(at, chunk)| Some((at, chunk.as_mut()?)))
            .flat_map(|(at, chunk)| {
                let numbers = (at * CHUNK) as Fd..;
                numbers.zip(chunk.iter_mut())
            })
            .filter(move |(fd, _)| *fd >= first)
    }

    pub fn places(&mut self) -> impl Iterator<Item = (Fd, &mut Place)> {
        self.places_from(0)
    }

    /// Those that somebody waits for, and what for, by descriptor.
    pub fn all_wanted(&mut self) -> impl Iterator<Item = (Fd, Events)> + '_ {
        self.places()
            .filter(|(_, place)| place.is_waited_for())
            .map(|(fd, place)| (fd, place.wanted()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Waiter;
    use super::*;

    fn waiter(id: u64, wants: Events) -> Rc<Waiter> {
        Rc::new(Waiter::new(id, Some((7, wants)), None))
    }

    fn picked(place: &Place, is: Events) -> Vec<u64> {
        let mut ready = vec![];
        place.pick(is, &mut ready);
        ready.iter().map(|(waiter, _)| waiter.id).collect()
    }

    #[test]
    fn what_can_be_used_up_ends_the_oldest_wait_for_it() {
        let mut all = Descriptors::default();
        for (id, wants) in [
            (1, Events::OUT),
            (2, Events::IN),
            (3, Events::IN),
            (4, Events::IN | Events::OUT),
        ] {
            all.insert(7, waiter(id, wants));
        }
        let place = all.get(7).unwrap();
        assert_eq!(place.wanted(), Events::IN | Events::OUT);
        assert_eq!(picked(place, Events::IN), [2]);
        assert_eq!(picked(place, Events::OUT), [1]);
        assert_eq!(picked(place, Events::IN | Events::OUT), [1, 2]);
        // What nobody can use up ends all.
        assert_eq!(picked(place, Events::HUP), [1, 2, 3, 4]);
        assert_eq!(picked(place, Events::IN | Events::ERR), [1, 2, 3, 4]);
        assert_eq!(picked(place, Events::NVAL), [1, 2, 3, 4]);
        assert_eq!(picked(place, Events::PRI), [0; 0]);
    }

    #[test]
    fn waits_are_kept_by_age_and_taken_by_number() {
        let mut all = Descriptors::default();
        let ids = |all: &mut Descriptors| -> Vec<u64> { all.of(7).iter().map(|w| w.id).collect() };
        for id in 1..=4 {
            all.insert(7, waiter(id, Events::IN));
        }
        assert!(all.remove(7, 3).is_some() && all.remove(7, 3).is_none());
        assert_eq!((ids(&mut all), all.len()), (vec![1, 2, 4], 3));
        assert!(all.remove(7, 1).is_some());
        assert_eq!((ids(&mut all), all.len()), (vec![2, 4], 2));
        assert!(all.remove(7, 2).is_some() && all.remove(7, 4).is_some());
        assert!(all.is_empty() && all.remove(7, 4).is_none() && all.remove(100_000, 4).is_none());
        assert!(all.get(-1).is_none());
    }

    #[test]
    fn places_come_by_descriptor() {
        let mut all = Descriptors::default();
        for fd in [200, 3, 64] {
            all.insert(fd, waiter(fd as u64, Events::IN));
        }
        let wanted: Vec<_> = all.all_wanted().map(|(fd, _)| fd).collect();
        assert_eq!(wanted, [3, 64, 200]);
        for (first, rest) in [
            (3, &[3, 64, 200][..]),
            (4, &[64, 200]),
            (65, &[200]),
            (201, &[]),
        ] {
            let waited = all.places_from(first).filter(|(_, p)| p.is_waited_for());
            assert_eq!(waited.map(|(fd, _)| fd).collect::<Vec<_>>(), rest);
        }
    }
}
