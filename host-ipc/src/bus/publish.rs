//! Handing an event to those it concerns.
//!
//! Decided and queued while the directory is locked for reading: nobody joins, leaves or closes the bus in
//! the middle of it. What that leads to comes after, without a lock, as others' code may run there.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    Published, Settled, Shared,
    budget::Room,
    codes,
    directory::Directory,
    inbox::{Ending, Entry, Inbox, Queued},
    letters::DeadLetter,
    published::{Tally, Ticket},
};
use crate::{EmitRefused, Event};

/// What a place in a queue takes by itself, about: its entry, its lane, and a task for it.
const PLACE_BYTES: usize = 512;

/// What an event comes to, for all whom it concerns.
enum Fate {
    /// It is queued, in this room.
    Queue(Room),
    Dead {
        code: &'static str,
        message: String,
    },
}

/// What handing out an event leads to.
#[must_use]
#[derive(Default)]
pub(super) struct Aftermath {
    endings: Vec<(Arc<Inbox>, Ending)>,
    /// Have something to deliver.
    inboxes: Vec<Arc<Inbox>>,
}

impl Aftermath {
    pub(super) fn carry_out(self, bus: &Arc<Shared>) {
        for (inbox, ending) in self.endings {
            bus.record(&inbox, ending);
        }
        for inbox in self.inboxes {
            bus.start(&inbox);
        }
    }
}

impl Shared {
    pub(super) fn publish(self: &Arc<Self>, event: Event) -> Published {
        let directory = self.directory();
        let inboxes = directory.covering(&event.event_type);
        let fate = self.fate(&directory, &event, inboxes.len());
        let tally = Tally::new(inboxes.iter().map(|inbox| inbox.name().clone()).collect());
        let aftermath = self.hand_out(Arc::new(event), inboxes, fate, Some(&tally));
        drop(directory);
        aftermath.carry_out(self);
        tally.published()
    }

    /// Has the log take an event of a plugin, and hands it out. The caller carries out what that leads to.
    ///
    /// # Errors
    /// Nothing was appended, nor handed out.
    pub(super) fn emit(&self, event: Event) -> Result<(Arc<Event>, Aftermath), EmitRefused> {
        let directory = self.directory();
        let inboxes = directory.covering(&event.event_type);
        let fate = self.fate(&directory, &event, inboxes.len());
        match fate {
            Fate::Dead { code: codes::CLOSED, .. } => return Err(EmitRefused::Closed),
            Fate::Dead { code: codes::QUEUE_FULL, .. } => return Err(EmitRefused::QueueFull),
            _ => {}
        }
        let event = self.log.append(event)?;
        let aftermath = self.hand_out(event.clone(), inboxes, fate, None);
        Ok((event, aftermath))
    }

    fn fate(&self, directory: &Directory, event: &Event, places: usize) -> Fate {
        let settings = &self.settings;
        if !directory.open {
            let message = "the host is shutting down".to_owned();
            return Fate::Dead { code: codes::CLOSED, message };
        }
        if event.hops > settings.hops_max {
            let message = format!("more than {} events led to this one", settings.hops_max);
            return Fate::Dead { code: codes::EVENT_LOOP, message };
        }
        match self.room(event, places) {
            Some(room) => Fate::Queue(room),
            None => {
                let max = settings.bytes_max;
                let message = format!("the events that wait for all subscribers take {max} bytes");
                Fate::Dead { code: codes::QUEUE_FULL, message }
            }
        }
    }

    /// Room for `event` in so many queues. One that concerns nobody takes none.
    fn room(&self, event: &Event, places: usize) -> Option<Room> {
        let bytes = if places == 0 { 0 } else { event.size() };
        self.budget.reserve(places.saturating_mul(PLACE_BYTES).saturating_add(bytes))
    }

    fn hand_out(
        &self,
        event: Arc<Event>,
        inboxes: Vec<Arc<Inbox>>,
        fate: Fate,
        tally: Option<&Arc<Tally>>,
    ) -> Aftermath {
        self.published.fetch_add(1, Relaxed);
        let ticket = |place| tally.map_or_else(Ticket::blank, |tally| tally.ticket(place));
        let inboxes = inboxes.into_iter().enumerate();
        let mut aftermath = Aftermath::default();
        match fate {
            Fate::Dead { code, message } => {
                aftermath.endings.extend(inboxes.map(|(place, inbox)| {
                    inbox.refuse();
                    let settled = Settled::Dead { code, message: message.clone(), attempts: 0 };
                    (inbox, Ending::new(event.clone(), settled, ticket(place)))
                }));
            }
            Fate::Queue(mut room) => {
                let places: Vec<_> = inboxes
                    .map(|(place, inbox)| (inbox, ticket(place), room.split(PLACE_BYTES)))
                    .collect();
                let queued = Queued::new(event.clone(), room);
                for (inbox, ticket, room) in places {
                    match inbox.push(Entry { queued: queued.clone(), ticket, room }) {
                        Ok(()) => aftermath.inboxes.push(inbox),
                        Err(entry) => {
                            inbox.refuse();
                            aftermath.endings.push((inbox, entry.end(self.queue_full())));
                        }
                    }
                }
            }
        }
        aftermath
    }

    fn queue_full(&self) -> Settled {
        let (events, bytes) = (self.settings.queue_events_max, self.settings.queue_bytes_max);
        let message = format!("at most {events} events of {bytes} bytes wait for a subscriber");
        Settled::Dead { code: codes::QUEUE_FULL, message, attempts: 0 }
    }

    /// Queues what became dead letters anew, each behind what waits for its subscriber. A letter stays if
    /// there is no room for it, or no subscriber. Returns how many were queued.
    pub(super) fn replay(self: &Arc<Self>, ids: &[u64]) -> usize {
        let mut aftermath = Aftermath::default();
        let mut queued = 0;
        for id in ids {
            let directory = self.directory();
            if !directory.open {
                break;
            }
            // Locked over both, so that nobody finds the letter in neither place, or replays it twice.
            let mut letters = self.letters();
            let Some(letter) = letters.get(*id) else { continue };
            if let Some(inbox) = self.queue_again(&directory, letter) {
                letters.remove(*id);
                queued += 1;
                aftermath.inboxes.push(inbox);
            }
        }
        aftermath.carry_out(self);
        queued
    }

    fn queue_again(&self, directory: &Directory, letter: &DeadLetter) -> Option<Arc<Inbox>> {
        let inbox = directory.get(&letter.subscriber)?;
        let event = letter.event.clone();
        let mut room = self.room(&event, 1)?;
        let place = room.split(PLACE_BYTES);
        let queued = Queued::new(event, room);
        inbox.push(Entry { queued, ticket: Ticket::blank(), room: place }).ok()?;
        Some(inbox.clone())
    }
}
