//! The one thread that writes: takes events from the queue, tells what was counted, seals, and has it all
//! on disk in good time.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{
    AuditEvent, AuditRecord, RecordKind,
    chain::Chain,
    log::{AuditSettings, Message, Shared},
    shape,
};

/// Between two syncs, unless someone waits for one.
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// Between two records of what was counted.
const FOLD_EVERY: Duration = Duration::from_secs(1);
/// After a failure.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Where nothing is due.
const IDLE: Duration = Duration::from_secs(3_600);

pub(super) struct Writer {
    chain: Chain,
    queue: Receiver<Message>,
    shared: Arc<Shared>,
    seal_records: u64,
    /// Records are sealed at the latest after this long.
    seal_every: Duration,
    queue_max: usize,
    /// Events that were taken from the queue and found no room.
    lost: u64,
    fold_due: Instant,
    sync_due: Instant,
    seal_due: Instant,
    /// Not before; set by a failure.
    retry_due: Option<Instant>,
    may_rotate: bool,
}

impl Writer {
    pub(super) fn new(
        chain: Chain,
        queue: Receiver<Message>,
        shared: Arc<Shared>,
        settings: &AuditSettings,
    ) -> Self {
        let now = Instant::now();
        Self {
            chain,
            queue,
            shared,
            seal_records: settings.checkpoint_records.max(1),
            queue_max: settings.queue_max,
            lost: 0,
            fold_due: now,
            sync_due: now,
            seal_every: settings.checkpoint_interval.min(IDLE),
            seal_due: now + settings.checkpoint_interval.min(IDLE),
            retry_due: None,
            may_rotate: true,
        }
    }

    /// Until the log is closed.
    pub(super) fn run(mut self) {
        let mut answered = 0;
        loop {
            // The message that says so may have been taken out below, after it was looked what was asked.
            let wait = match self.shared.asked() {
                (asked, is_closing) if is_closing || asked > answered => Duration::ZERO,
                _ => self.until_due(),
            };
            let (first, is_cut_off) = match self.queue.recv_timeout(wait) {
                Ok(message) => (Some(message), false),
                Err(RecvTimeoutError::Timeout) => (None, false),
                Err(RecvTimeoutError::Disconnected) => (None, true),
            };
            // Before the queue is emptied: what was recorded before someone asked is in it.
            let (asked, is_closing) = self.shared.asked();
            let is_last = is_closing || is_cut_off;
            let mut next = first;
            // No more than fits in: whoever fills it all the time must not keep us from writing.
            for _ in 0..=self.queue_max {
                match next.take().or_else(|| self.queue.try_recv().ok()) {
                    Some(Message::Event(event)) => self.keep(&event),
                    Some(Message::Wake) => {}
                    None => break,
                }
            }
            let is_forced = is_last || asked > answered;
            if !self.chain.has_room() {
                // What cannot be told now would be lost if this is the end.
                let _ = self.store(is_forced);
            }
            self.tell(is_forced);
            if is_last {
                self.chain.append(AuditRecord::new(RecordKind::Closed, SystemTime::now()));
            }
            let now = Instant::now();
            let unsealed = self.chain.unsealed();
            if unsealed >= self.seal_records || (unsealed > 0 && now >= self.seal_due) || is_last {
                self.seal(now);
            }
            // A file that is full at the end is ended by the next host: the seal is to come last.
            self.may_rotate = !is_last;
            let stored = self.store(is_forced);
            if is_forced {
                answered = asked;
                self.shared.answer(asked, stored);
            }
            if is_last {
                return;
            }
        }
    }

    fn until_due(&self) -> Duration {
        let now = Instant::now();
        let retry = self.retry_due.unwrap_or(now);
        let due = [
            self.chain.has_pending().then_some(self.sync_due.max(retry)),
            self.shared.has_folded().then_some(self.fold_due),
            (self.chain.unsealed() > 0).then_some(self.seal_due.max(retry)),
            (self.lost > 0).then_some(retry),
        ];
        let due = due.into_iter().flatten().min();
        due.map_or(IDLE, |due| due.saturating_duration_since(now))
    }

    fn keep(&mut self, event: &AuditEvent) {
        for (at, record) in shape::records(event).into_iter().enumerate() {
            if !self.append(record) {
                // One event, however many records it makes.
                self.lost += u64::from(at == 0);
            }
        }
    }

    /// Whether there was room.
    fn append(&mut self, record: AuditRecord) -> bool {
        if self.chain.is_full() || !self.chain.has_room() {
            // A failure is noted, and tried again when that is due.
            let _ = self.store(false);
        }
        if !self.chain.has_room() {
            return false;
        }
        if self.chain.unsealed() == 0 {
            self.seal_due = Instant::now() + self.seal_every;
        }
        self.chain.append(record);
        if self.chain.unsealed() >= self.seal_records {
            self.seal(Instant::now());
        }
        true
    }

    fn seal(&mut self, now: Instant) {
        if self.chain.has_room() {
            self.chain.seal(SystemTime::now());
        }
        self.seal_due = now + self.seal_every;
    }

    /// Records what was counted: what plugins told too much of, and what found no room.
    fn tell(&mut self, is_forced: bool) {
        let now = Instant::now();
        if is_forced || now >= self.fold_due {
            self.fold_due = now + FOLD_EVERY;
            for folded in self.shared.take_folded() {
                let total = folded.total();
                if !self.append(folded.record(SystemTime::now())) {
                    self.lost += total;
                }
            }
        }
        self.lost = self.lost.saturating_add(self.shared.take_dropped());
        if self.lost > 0 {
            let mut record = AuditRecord::new(RecordKind::Dropped, SystemTime::now());
            record.count = Some(self.lost);
            if self.append(record) {
                self.lost = 0;
            }
        }
    }

    /// Writes, and syncs where that is due.
    fn store(&mut self, is_forced: bool) -> io::Result<()> {
        let now = Instant::now();
        if let Some(due) = self.retry_due
            && now < due
            && !is_forced
        {
            return Ok(());
        }
        let stored = self.try_store(is_forced, now);
        match &stored {
            Ok(()) => self.retry_due = None,
            Err(error) => {
                self.retry_due = Some(now + RETRY_EVERY);
                self.shared.failed(error);
            }
        }
        stored
    }

    fn try_store(&mut self, is_forced: bool, now: Instant) -> io::Result<()> {
        if self.chain.is_full() && self.may_rotate {
            self.chain.rotate(SystemTime::now())?;
        }
        self.chain.write()?;
        if is_forced || now >= self.sync_due || !self.chain.has_room() {
            self.chain.sync()?;
            self.sync_due = Instant::now() + SYNC_EVERY;
        }
        Ok(())
    }
}
