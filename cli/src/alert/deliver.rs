//! From a journal to its destinations: what is owed is sent, in order, until
//! it is delivered or patience ends; what is left stays in the journal.
//!
//! Order of writing, so that an end at any point loses nothing:
//!
//! 1. the run is sealed and on the disk;
//! 2. the journal appears, whole, with every alert queued (file, then folder);
//! 3. before a lot is sent, that it will be is on the disk;
//! 4. what became of it is written at once, and on the disk before the next lot.
//!
//! An end between 3 and 4 leaves letters of which nobody knows whether they
//! arrived. They are sent again under the same id, by which the receiver knows
//! them: losing one would be worse.

use super::channel::{Channel, Letter, Sent};
use nsforensics_engine::seal::{Journal, JournalContents, Tried};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Letters whose sending is announced together.
const ANNOUNCED: usize = 16;
/// Letters that a peer may refuse in a row before the rest waits.
const REFUSALS: u32 = 5;

/// When to try again, and when to give up for now.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries of a lot.
    pub tries: u32,
    /// Wait before the second try; doubled for each one after.
    pub first_wait: Duration,
    /// Longest wait.
    pub longest_wait: Duration,
    /// After this long no new lot is begun; `None`: as long as it takes.
    pub budget: Option<Duration>,
}

impl Patience {
    /// For deliveries that an analysis waits for.
    pub const fn short() -> Self {
        Self {
            tries: 4,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(4),
            budget: Some(Duration::from_secs(60)),
        }
    }

    /// For deliveries that were asked for.
    pub const fn long() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            budget: None,
        }
    }

    /// Between half and all of what is due: many that failed together do not
    /// come back together.
    fn wait(&self, tried: u32, asked: Option<Duration>) -> Duration {
        let doubled = self
            .first_wait
            .saturating_mul(
                1_u32
                    .checked_shl(tried.saturating_sub(1))
                    .unwrap_or(u32::MAX),
            )
            .min(self.longest_wait);
        let dice = RandomState::new().build_hasher().finish() % 1_000;
        let half = doubled / 2;
        let jittered = half + half.saturating_mul(u32::try_from(dice).unwrap_or(0)) / 1_000;
        jittered.max(asked.unwrap_or_default())
    }
}

/// What became of one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Delivered {
    /// Its name.
    pub destination: String,
    /// Delivered now.
    pub delivered: u64,
    /// Still owed.
    pub owed: u64,
    /// Why, where something is owed.
    pub reason: Option<String>,
}

/// Sends everything that is owed; each destination by a thread of its own, so
/// that one that is slow keeps no other waiting.
pub fn deliver(
    journal: Journal,
    contents: &JournalContents,
    channels: Vec<Result<Box<dyn Channel>, String>>,
    patience: Patience,
) -> Vec<Delivered> {
    let journal = Mutex::new(journal);
    let mut channels = channels.into_iter();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0_u32..)
            .zip(&contents.destinations)
            .map(|(index, name)| {
                let channel = channels.next();
                let channel = channel
                    .unwrap_or_else(|| Err("the policy does not name it any more".to_owned()));
                let worker = Worker {
                    journal: &journal,
                    contents,
                    index,
                    patience,
                    started: Instant::now(),
                };
                let pending = contents.pending(index);
                let owed = pending.len() as u64;
                let name = name.clone();
                (
                    name.clone(),
                    owed,
                    scope.spawn(move || worker.work(&name, &pending, channel)),
                )
            })
            .collect();
        workers
            .into_iter()
            .map(|(destination, owed, worker)| {
                worker.join().unwrap_or_else(|_| Delivered {
                    destination,
                    owed,
                    reason: Some("internal error".to_owned()),
                    ..Delivered::default()
                })
            })
            .collect()
    })
}

struct Worker<'a> {
    journal: &'a Mutex<Journal>,
    contents: &'a JournalContents,
    index: u32,
    patience: Patience,
    started: Instant,
}

/// What a lot came to.
enum Lot {
    Done,
    Refused(String),
    /// No use in going on for now.
    Stop(String),
}

impl Worker<'_> {
    fn work(
        &self,
        name: &str,
        pending: &[u64],
        channel: Result<Box<dyn Channel>, String>,
    ) -> Delivered {
        let mut done = Delivered {
            destination: name.to_owned(),
            owed: pending.len() as u64,
            ..Delivered::default()
        };
        if pending.is_empty() {
            return done;
        }
        let mut channel = match channel {
            Ok(channel) => channel,
            Err(why) => {
                // Nothing was tried, so there is nothing for the journal.
                done.reason = Some(why);
                return done;
            }
        };
        let lot = channel.lot().max(1);
        let mut refusals = 0;
        'all: for announced in pending.chunks(lot.max(ANNOUNCED)) {
            if self.is_out_of_time() {
                done.reason = Some("the time for deliveries is over".to_owned());
                break;
            }
            if let Err(why) = self.locked(|journal| journal.intend(self.index, announced)) {
                done.reason = Some(why);
                break;
            }
            for numbers in announced.chunks(lot) {
                match self.lot(channel.as_mut(), numbers) {
                    Lot::Done => {
                        done.delivered += numbers.len() as u64;
                        done.owed -= numbers.len() as u64;
                        refusals = 0;
                    }
                    Lot::Refused(why) if refusals + 1 < REFUSALS => {
                        refusals += 1;
                        done.reason = Some(why);
                    }
                    Lot::Refused(why) | Lot::Stop(why) => {
                        done.reason = Some(why);
                        break 'all;
                    }
                }
            }
            if let Err(why) = self.locked(Journal::sync) {
                done.reason = Some(why);
                break;
            }
        }
        if let Err(why) = self.locked(Journal::sync) {
            done.reason.get_or_insert(why);
        }
        if done.owed == 0 {
            done.reason = None;
        }
        done
    }

    fn lot(&self, channel: &mut dyn Channel, numbers: &[u64]) -> Lot {
        let letters: Vec<Letter> = numbers
            .iter()
            .filter_map(|&number| {
                let queued = self.contents.queued.get(usize::try_from(number).ok()?)?;
                Some(Letter {
                    time: queued.time.clone(),
                    text: queued.alert.clone(),
                })
            })
            .collect();
        for tried in 1.. {
            let sent = channel.send(&letters);
            let (outcome, detail) = match &sent {
                Sent::Delivered(how) => (Tried::Delivered, how),
                Sent::Later(why, _) | Sent::Refused(why) => (Tried::Failed, why),
            };
            let noted = self.locked(|journal| journal.note(self.index, numbers, outcome, detail));
            match (sent, noted) {
                // Delivered, and the journal does not know: stop before more of that.
                (_, Err(why)) => return Lot::Stop(why),
                (Sent::Delivered(_), Ok(())) => return Lot::Done,
                (Sent::Refused(why), Ok(())) => return Lot::Refused(why),
                (Sent::Later(why, asked), Ok(())) => {
                    if tried >= self.patience.tries || self.is_out_of_time() {
                        return Lot::Stop(why);
                    }
                    std::thread::sleep(self.patience.wait(tried, asked));
                }
            }
        }
        Lot::Stop("not tried".to_owned())
    }

    fn is_out_of_time(&self) -> bool {
        let budget = self.patience.budget;
        budget.is_some_and(|budget| self.started.elapsed() > budget)
    }

    fn locked<T>(
        &self,
        act: impl FnOnce(&mut Journal) -> nsforensics_engine::error::Result<T>,
    ) -> Result<T, String> {
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        act(&mut journal).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nsforensics_engine::seal::{JournalKey, Key, check_journal};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const QUICK: Patience = Patience {
        tries: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
        budget: None,
    };

    /// Answers as told, then delivers.
    struct Scripted {
        answers: Vec<Sent>,
        lot: usize,
        seen: Arc<AtomicUsize>,
    }

    impl Channel for Scripted {
        fn lot(&self) -> usize {
            self.lot
        }

        fn send(&mut self, letters: &[Letter]) -> Sent {
            self.seen.fetch_add(letters.len(), Ordering::SeqCst);
            if self.answers.is_empty() {
                Sent::Delivered("ok".to_owned())
            } else {
                self.answers.remove(0)
            }
        }
    }

    fn later() -> Sent {
        Sent::Later("busy".to_owned(), None)
    }

    /// Delivers `alerts` and gives what came of it, letters sent, deliveries owed.
    #[track_caller]
    fn case(alerts: usize, lot: usize, answers: Vec<Sent>) -> (Delivered, usize, u64) {
        let dir = tempfile::tempdir().expect("a folder");
        let key = JournalKey::of(&Key::from_secret(&[1; 32]).expect("a key"));
        let texts: Vec<String> = (0..alerts).map(|n| format!("{{\"id\":\"{n}\"}}")).collect();
        let path = Journal::create(
            &dir.path().join("run"),
            "aa",
            &["webhook-1".to_owned()],
            texts.into_iter(),
            &key,
        )
        .expect("a journal");
        let seen = Arc::new(AtomicUsize::new(0));
        let channel = Scripted {
            answers,
            lot,
            seen: Arc::clone(&seen),
        };
        let (journal, contents) = Journal::open(&path, &key).expect("opened");
        let mut done = deliver(journal, &contents, vec![Ok(Box::new(channel))], QUICK);
        let owed = check_journal(&path, &key).expect("a whole chain").owed();
        (done.remove(0), seen.load(Ordering::SeqCst), owed)
    }

    #[test]
    fn everything_is_delivered_once() {
        for (alerts, lot) in [(0, 1), (1, 1), (40, 1), (130, 64)] {
            let (done, seen, owed) = case(alerts, lot, Vec::new());
            assert_eq!((done.delivered, done.owed, owed), (alerts as u64, 0, 0));
            assert_eq!((seen, done.reason), (alerts, None));
        }
    }

    #[test]
    fn what_is_busy_is_tried_again_and_then_spooled() {
        let (done, seen, owed) = case(2, 1, vec![later(), later()]);
        assert_eq!((done.delivered, owed, seen), (2, 0, 4));
        let (done, seen, owed) = case(20, 1, vec![later(), later(), later()]);
        assert_eq!((done.delivered, owed, seen), (0, 20, 3));
        assert_eq!(done.reason.as_deref(), Some("busy"));
    }

    #[test]
    fn one_refused_letter_keeps_no_other_back_and_many_do() {
        let refused = || Sent::Refused("HTTP 422".to_owned());
        let (done, _, owed) = case(4, 1, vec![refused()]);
        assert_eq!((done.delivered, done.owed, owed), (3, 1, 1));
        assert_eq!(done.reason.as_deref(), Some("HTTP 422"));
        let (done, seen, owed) = case(40, 1, (0..40).map(|_| refused()).collect());
        assert_eq!((done.delivered, seen, owed), (0, 5, 40));
    }

    #[test]
    fn a_destination_that_cannot_be_used_keeps_its_letters() {
        let dir = tempfile::tempdir().expect("a folder");
        let key = JournalKey::of(&Key::from_secret(&[1; 32]).expect("a key"));
        let names = ["webhook-1".to_owned(), "syslog-2".to_owned()];
        let run = dir.path().join("run");
        let path = Journal::create(&run, "", &names, vec!["{}".to_owned()].into_iter(), &key)
            .expect("a journal");
        let (journal, contents) = Journal::open(&path, &key).expect("opened");
        let unset = Err("the environment has no ALERT_WEBHOOK_URL".to_owned());
        let done = deliver(journal, &contents, vec![unset], QUICK);
        assert!(
            done[0]
                .reason
                .as_deref()
                .is_some_and(|why| why.contains("ALERT_WEBHOOK_URL"))
        );
        assert!(done[1].reason.is_some());
        assert_eq!(check_journal(&path, &key).expect("whole").owed(), 2);
    }

    #[test]
    fn waits_double_with_jitter_up_to_the_longest() {
        let patience = Patience {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(8),
            ..QUICK
        };
        for (tried, full) in [(1, 1), (2, 2), (3, 4), (4, 8), (9, 8), (200, 8)] {
            let full = Duration::from_secs(full);
            for _ in 0..20 {
                let wait = patience.wait(tried, None);
                assert!(wait >= full / 2 && wait <= full, "{tried}: {wait:?}");
            }
        }
        let asked = Some(Duration::from_secs(20));
        assert_eq!(patience.wait(1, asked), Duration::from_secs(20));
    }
}
