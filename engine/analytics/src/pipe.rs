//! Takes orders through a pipe and answers them: [`nsforensics_engine::rule::wire`].
//! The process that does so is watched by another one: [`crate::watch`].

use crate::{Heard, Tables};
use nsforensics_engine::rule::wire::{Bounds, Line, Lines, MAX_LINE, MAX_ORDER, Order, Trouble};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use std::io::{Error, Read, Result, Write};
use std::os::fd::AsFd;

/// Most files that are open at once.
pub(crate) const MAX_FILES: u32 = 512;

/// Takes orders until the input ends, and answers them within their bounds of memory.
///
/// # Errors
///
/// When an order cannot be read or an answer not be written.
pub fn serve(input: impl Read + AsFd, out: &mut impl Write) -> Result<()> {
    // Who watches does not end alone.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut orders = Lines::new(input, MAX_ORDER);
    let mut open = Open::default();
    while let Some(order) = orders.next(&mut || Ok::<_, Error>(()))? {
        let order = serde_json::from_slice(order)?;
        let last = match open.answer(&order, out)? {
            Ok(()) => Line::End,
            Err(why) => Line::Failed(why),
        };
        serde_json::to_writer(&mut *out, &last)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

/// The tables of the order before, with what its queries had copied.
#[derive(Default)]
struct Open(Option<(Order, Tables)>);

impl Open {
    fn answer(
        &mut self,
        order: &Order,
        out: &mut impl Write,
    ) -> Result<std::result::Result<(), Trouble>> {
        let tables = match self.tables(order) {
            Ok(tables) => tables,
            Err(why) => return Ok(Err(why.into())),
        };
        let mut lost = None;
        let answer = tables.query(&order.query, |heard| {
            let line = match heard {
                Heard::Row(row) => Line::Row(row),
                Heard::Again => Line::Again,
            };
            let mut line = serde_json::to_vec(&line).map_err(|error| error.to_string())?;
            line.push(b'\n');
            if line.len() > MAX_LINE {
                return Err(crate::too_long());
            }
            out.write_all(&line).map_err(|error| {
                let why = error.to_string();
                lost = Some(error);
                why
            })
        });
        // Nobody listens any more.
        lost.map_or(Ok(answer), Err)
    }

    fn tables(&mut self, order: &Order) -> std::result::Result<&mut Tables, String> {
        let known = self.0.take().filter(|(last, _)| {
            (&last.folder, &last.tables, last.bounds)
                == (&order.folder, &order.tables, order.bounds)
        });
        let known = match known {
            Some((_, tables)) => tables,
            None => {
                limit(order.bounds).map_err(|error| format!("memory has no bound: {error}"))?;
                Tables::open(&order.folder, &order.tables, order.bounds)?
            }
        };
        let order = Order {
            folder: order.folder.clone(),
            tables: order.tables.clone(),
            query: String::new(),
            bounds: order.bounds,
        };
        Ok(&mut self.0.insert((order, known)).1)
    }
}

/// Bounds the process: where it needs more memory, it ends.
fn limit(bounds: Bounds) -> rustix::io::Result<()> {
    let most = |number: u64| Rlimit {
        current: Some(number),
        maximum: Some(number),
    };
    setrlimit(Resource::As, most(bounds.memory_bytes))?;
    setrlimit(Resource::Nofile, most(MAX_FILES.into()))
}
