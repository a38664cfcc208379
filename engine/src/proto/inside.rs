//! What a key log opened of a TLS connection, read like any other stream: a
//! session within the session. Its rows say that they were decrypted.

use super::session::Session;
use super::tls::Plain;
use super::{Cx, Direction, LiveRow, SessionFacts, Want};

/// The decrypted streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Inside {
    session: Option<Session>,
    /// Bytes of each direction that the session does not want.
    skip: [u64; 2],
    deaf: [bool; 2],
    /// Connections around it that were opened as well.
    depth: u8,
}

impl Inside {
    /// Within a connection that so many others are around.
    pub(super) fn at(depth: u8) -> Self {
        Self {
            depth,
            ..Self::default()
        }
    }

    /// The connection has ended: what was inside, if anything was.
    pub(super) fn end(self, cx: &mut Cx<'_>) -> Option<SessionFacts> {
        let session = self.session?;
        Some(marked(cx, |cx| session.end(cx)))
    }

    /// Heap bytes held, roughly.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.session.as_ref().map_or(0, Session::heap_bytes)
    }

    fn note(&mut self, direction: Direction, want: Want) {
        let side = direction.index();
        match want {
            Want::Bytes => {}
            Want::Skip(len) => self.skip[side] = len,
            Want::Nothing => self.deaf[side] = true,
        }
    }
}

impl Plain for Inside {
    fn data(
        &mut self,
        cx: &mut Cx<'_>,
        direction: Direction,
        is_client: bool,
        alpn: Option<&str>,
        bytes: &[u8],
    ) {
        let client = if is_client {
            direction
        } else {
            direction.flip()
        };
        let session = self
            .session
            .get_or_insert_with(|| Session::inside(alpn, client, self.depth.saturating_add(1)));
        let side = direction.index();
        let passed = match self.deaf[side] {
            true => bytes.len(),
            false => usize::try_from(self.skip[side]).map_or(bytes.len(), |n| n.min(bytes.len())),
        };
        if passed > 0 {
            session.skipped(direction, passed as u64);
            self.skip[side] = self.skip[side].saturating_sub(passed as u64);
        }
        let rest = bytes.get(passed..).unwrap_or_default();
        if !rest.is_empty() {
            let want = marked(cx, |cx| session.data(cx, direction, rest));
            self.note(direction, want);
        }
    }

    fn gap(&mut self, cx: &mut Cx<'_>, direction: Direction) {
        let side = direction.index();
        self.skip[side] = 0;
        if !self.deaf[side]
            && let Some(session) = &mut self.session
        {
            let want = marked(cx, |cx| session.gap(cx, direction, u64::MAX));
            self.note(direction, want);
        }
    }

    fn forget(&mut self) {
        *self = Self::at(self.depth);
    }

    fn is_deaf(&self) -> bool {
        self.deaf == [true; 2]
    }
}

/// Rows that are made meanwhile were decrypted.
fn marked<T>(cx: &mut Cx<'_>, act: impl FnOnce(&mut Cx<'_>) -> T) -> T {
    let before = cx.rows.len();
    let result = act(cx);
    for row in cx.rows.iter_mut().skip(before) {
        match row {
            LiveRow::Http(tx) => tx.decrypted = true,
            LiveRow::Dns(query) => query.decrypted(),
            LiveRow::Pki(_) | LiveRow::Session(_) => {}
        }
    }
    result
}
