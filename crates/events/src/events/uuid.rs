//! UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 74 random bits that grow within a
//! millisecond.
//!
//! Each thread has its own generator, seeded by the operating system, so a new id takes no lock. A
//! child of `fork` has copies of its parent's generators and would repeat their ids, so a
//! generator is made again in each process.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::{SmallRng, SysRng};
use rand::{Rng, SeedableRng};

use crate::fork::PerProcess;

/// The characters of a UUID.
pub(super) const TEXT_LEN: usize = 36;

/// Random bits of a UUIDv7: 12 beside the version, 62 beside the variant.
const RANDOM_BITS: u32 = 74;

/// If the clock goes back by less than this, ids keep the last time and count on; if it goes back
/// further, it was set, and ids follow it.
const CLOCK_JITTER_MS: u64 = 10_000;

/// Milliseconds since 1970, UTC; 0 if the clock stands before that.
#[inline]
pub(super) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

/// A thread's generator.
struct Generator {
    /// The time in the last id.
    last_ms: u64,
    /// The random bits in the last id.
    last_random: u128,
    rng: SmallRng,
}

impl Generator {
    #[cold]
    fn new() -> Self {
        // If the system has no random bytes, std's own seed, which has a fallback, is the best left.
        let rng = SmallRng::try_from_rng(&mut SysRng)
            .unwrap_or_else(|_| SmallRng::seed_from_u64(hash_of_nothing()));
        Generator {
            last_ms: 0,
            last_random: 0,
            rng,
        }
    }

    /// The next id, as 128 bits.
    #[inline]
    fn next_v7(&mut self, now_ms: u64) -> u128 {
        let clock_was_set = now_ms.saturating_add(CLOCK_JITTER_MS) < self.last_ms;
        if now_ms > self.last_ms || clock_was_set {
            self.last_ms = now_ms;
            self.last_random = self.random();
        } else {
            // A random step keeps the next id from being guessed from this one.
            self.last_random += 1 + u128::from(self.rng.next_u32());
            if self.last_random >> RANDOM_BITS != 0 {
                self.last_ms += 1;
                self.last_random = self.random();
            }
        }
        let random = self.last_random;
        let (beside_version, beside_variant) = (random >> 62, random & ((1 << 62) - 1));
        u128::from(self.last_ms & ((1 << 48) - 1)) << 80
            | 0x7 << 76
            | beside_version << 64
            | 0b10 << 62
            | beside_variant
    }

    /// Random bits with the highest clear, so that they can grow.
    #[inline]
    fn random(&mut self) -> u128 {
        let bits = u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
        bits >> (128 - RANDOM_BITS + 1)
    }
}

fn hash_of_nothing() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

thread_local! {
    static GENERATOR: RefCell<Option<PerProcess<Generator>>> = const { RefCell::new(None) };
}

/// The next UUIDv7 of this thread.
#[inline]
pub(super) fn next_v7(now_ms: i64) -> u128 {
    GENERATOR.with_borrow_mut(|slot| {
        PerProcess::get_or_create(slot, Generator::new).next_v7(now_ms.max(0) as u64)
    })
}

/// Both hex digits of every byte.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};

/// Where each byte's digits stand in the text: after 4, 6, 8 and 10 bytes comes a hyphen.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// The usual text of a UUID, in lower case.
#[inline]
pub(super) fn format(id: u128) -> [u8; TEXT_LEN] {
    let mut text = [b'-'; TEXT_LEN];
    for (byte, place) in id.to_be_bytes().into_iter().zip(PLACES) {
        [text[place], text[place + 1]] = HEX[usize::from(byte)];
    }
    text
}

/// What a byte can be in the text of a UUID.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'-' => HYPHEN,
            byte if byte.is_ascii_hexdigit() => DIGIT,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};
const DIGIT: u8 = 1;
const HYPHEN: u8 = 2;

/// Whether bytes are the text of a UUID, in either case.
pub(super) fn is_uuid(text: &[u8]) -> bool {
    const SHAPE: &[u8; TEXT_LEN] = b"00000000-0000-0000-0000-000000000000";
    let Ok(text) = <&[u8; TEXT_LEN]>::try_from(text) else {
        return false;
    };
    let mut fits = true;
    for place in 0..TEXT_LEN {
        let wanted = if SHAPE[place] == b'-' { HYPHEN } else { DIGIT };
        fits &= KINDS[usize::from(text[place])] == wanted;
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_thread_grow_even_when_the_clock_stands_or_steps_back() {
        let mut last = 0;
        for step in 0..1000 {
            let id = next_v7(1_762_000_000_000 + step % 7 - step % 3);
            assert!(id > last);
            last = id;
        }
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed() {
        let mut generator = Generator::new();
        generator.next_v7(2_000_000_000_000);
        assert_eq!(
            generator.next_v7(1_000_000_000_000) >> 80,
            1_000_000_000_000
        );
    }

    #[test]
    fn random_bits_that_run_over_borrow_the_next_millisecond() {
        let mut generator = Generator::new();
        let first = generator.next_v7(1000);
        generator.last_random = (1 << RANDOM_BITS) - 1;
        let second = generator.next_v7(1000);
        assert!(second > first);
        assert_eq!(second >> 80, 1001);
    }

    #[test]
    fn an_id_holds_its_time_version_and_variant() {
        let text = format(next_v7(0x0123_4567_89ab));
        let text = str::from_utf8(&text).unwrap();
        assert!(text.starts_with("01234567-89ab-7"), "{text}");
        assert!(
            matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{text}"
        );
        assert!(is_uuid(text.as_bytes()));
        assert!(is_uuid(text.to_uppercase().as_bytes()));
        assert!(!is_uuid(&text.as_bytes()[1..]));
        assert!(!is_uuid(text.replace('-', "0").as_bytes()));
    }

    #[test]
    fn threads_make_different_ids() {
        let ids = || (0..100).map(|_| next_v7(1)).collect::<Vec<_>>();
        let other = std::thread::spawn(ids);
        let mine = ids();
        let theirs = other.join().unwrap();
        assert!(mine.iter().all(|id| !theirs.contains(id)));
    }

    #[cfg(all(unix, not(miri)))]
    #[test]
    fn a_forked_process_makes_ids_of_its_own() {
        use std::io::Read;
        use std::os::fd::FromRawFd;

        next_v7(1);
        let mut pipe = [0; 2];
        // SAFETY: the child calls nothing but the generator, `write` and `_exit`; the pipe's ends
        // are each closed once, by the child's exit and by the `File`.
        let mut read_end = unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                let id = next_v7(1).to_ne_bytes();
                libc::write(pipe[1], id.as_ptr().cast(), id.len());
                libc::_exit(0);
            }
            libc::close(pipe[1]);
            assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child);
            std::fs::File::from_raw_fd(pipe[0])
        };
        let mut theirs = [0; 16];
        read_end.read_exact(&mut theirs).unwrap();
        assert_ne!(u128::from_ne_bytes(theirs), next_v7(1));
    }
}
