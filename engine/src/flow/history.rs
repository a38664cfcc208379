//! Zeek's `history` letters: what each end did, in the order in which it first
//! did it. Upper case for the originator, lower case for the responder
//! (documented in Zeek's `base/protocols/conn/main.zeek`).

use crate::proto::Direction;

/// The letters, each once per direction; some again at every power of ten.
#[derive(Clone, Debug, Default)]
pub struct History {
    letters: Letters,
    /// Letters seen, a bit each, `[orig, resp]`.
    seen: [u16; 2],
    /// How often the letters that count were seen: `c g t w`, `[orig, resp]`.
    /// Boxed: most flows have none of it.
    counts: Option<Box<[[u32; 4]; 2]>>,
}

/// Up to 31 letters of one byte each, without allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Letters {
    len: u8,
    bytes: [u8; 31],
}

impl Letters {
    /// As text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }
}

#[cfg(test)]
impl From<&str> for Letters {
    fn from(text: &str) -> Self {
        let mut letters = Self::default();
        text.bytes().for_each(|byte| letters.push(byte));
        letters
    }
}

/// What can be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `s`: SYN without ACK.
    Syn,
    /// `h`: SYN with ACK.
    SynAck,
    /// `a`: pure ACK.
    Ack,
    /// `d`: payload.
    Data,
    /// `f`: FIN.
    Fin,
    /// `r`: RST.
    Rst,
    /// `i`: inconsistent bytes (an overlap conflict).
    Inconsistent,
    /// `q`: SYN together with FIN or RST.
    MultiFlag,
    /// `c`: bad checksum; counted.
    Checksum,
    /// `g`: gap; counted.
    Gap,
    /// `t`: payload sent again; counted.
    Retransmission,
    /// `w`: zero window; counted.
    ZeroWindow,
}

impl Letter {
    const fn byte(self) -> u8 {
        match self {
            Self::Syn => b's',
            Self::SynAck => b'h',
            Self::Ack => b'a',
            Self::Data => b'd',
            Self::Fin => b'f',
            Self::Rst => b'r',
            Self::Inconsistent => b'i',
            Self::MultiFlag => b'q',
            Self::Checksum => b'c',
            Self::Gap => b'g',
            Self::Retransmission => b't',
            Self::ZeroWindow => b'w',
        }
    }

    const fn counter(self) -> Option<usize> {
        match self {
            Self::Checksum => Some(0),
            Self::Gap => Some(1),
            Self::Retransmission => Some(2),
            Self::ZeroWindow => Some(3),
            _ => None,
        }
    }
}

impl History {
    /// Notes something that one end did.
    pub fn note(&mut self, direction: Direction, letter: Letter) {
        let end = direction.index();
        if let Some(counter) = letter.counter() {
            let count = &mut self.counts.get_or_insert_default()[end][counter];
            *count = count.saturating_add(1);
            // 1, 10, 100, …: the number of letters tells the magnitude.
            if !is_power_of_ten(*count) {
                return;
            }
        } else {
            let bit = 1 << letter as u16;
            if self.seen[end] & bit != 0 {
                return;
            }
            self.seen[end] |= bit;
        }
        let byte = letter.byte();
        self.push(if direction == Direction::Orig {
            byte.to_ascii_uppercase()
        } else {
            byte
        });
    }

    /// Whether an end did this.
    pub fn has(&self, direction: Direction, letter: Letter) -> bool {
        match letter.counter() {
            Some(counter) => {
                let counts = self.counts.as_ref();
                counts.is_some_and(|counts| counts[direction.index()][counter] > 0)
            }
            None => self.seen[direction.index()] & 1 << letter as u16 != 0,
        }
    }

    /// The orientation was turned: `^`.
    pub fn flipped(&mut self) {
        self.push(b'^');
    }

    /// The letters.
    pub const fn letters(&self) -> Letters {
        self.letters
    }

    fn push(&mut self, byte: u8) {
        self.letters.push(byte);
    }
}

const fn is_power_of_ten(mut count: u32) -> bool {
    while count >= 10 && count.is_multiple_of(10) {
        count /= 10;
    }
    count == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Orig, Resp};

    #[test]
    fn letters_come_once_and_in_order() {
        let mut history = History::default();
        for (direction, letter) in [
            (Orig, Letter::Syn),
            (Resp, Letter::SynAck),
            (Orig, Letter::Ack),
            (Orig, Letter::Data),
            (Orig, Letter::Data),
            (Resp, Letter::Ack),
            (Orig, Letter::Fin),
            (Resp, Letter::Fin),
        ] {
            history.note(direction, letter);
        }
        assert_eq!(history.letters().as_str(), "ShADaFf");
    }

    #[test]
    fn counted_letters_show_magnitude() {
        let mut history = History::default();
        for _ in 0..250 {
            history.note(Orig, Letter::Retransmission);
        }
        assert_eq!(history.letters().as_str(), "TTT");
    }

    #[test]
    fn a_flow_with_every_letter_does_not_overflow() {
        let mut history = History::default();
        for _ in 0..200_000 {
            for letter in [
                Letter::Checksum,
                Letter::Gap,
                Letter::Retransmission,
                Letter::ZeroWindow,
            ] {
                history.note(Orig, letter);
                history.note(Resp, letter);
            }
        }
        assert_eq!(history.letters().as_str().len(), 31);
    }
}
