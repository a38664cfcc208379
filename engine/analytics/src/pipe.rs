//! Takes orders through a pipe and answers them: [`nsforensics_engine::rule::wire`].

use crate::{Heard, Tables};
use nsforensics_engine::rule::wire::{Line, MAX_ORDER, Order};
use std::io::{BufRead, Read as _, Write};
use std::path::Path;

/// Takes orders until the input ends. `scratch`: where temporary files go.
///
/// # Errors
///
/// When an order cannot be read or an answer not be written.
pub fn serve(
    input: &mut impl BufRead,
    out: &mut impl Write,
    scratch: &Path,
) -> std::io::Result<()> {
    loop {
        let mut line = Vec::new();
        input.take(MAX_ORDER).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let order: Order = serde_json::from_slice(&line)?;
        answer(&order, out, scratch)?;
        say(out, &Line::Done)?;
        out.flush()?;
    }
}

fn answer(order: &Order, out: &mut impl Write, scratch: &Path) -> std::io::Result<()> {
    let opened = Tables::open(&order.folder, &order.tables, order.bounds, scratch);
    let mut tables = match opened {
        Ok(tables) => tables,
        Err(why) => return say(out, &Line::NothingAsked(why)),
    };
    for (number, query) in order.queries.iter().enumerate() {
        let mut lost = None;
        let asked = tables.query(query, |heard| {
            let line = match heard {
                Heard::Row(row) => Line::Row(number, row),
                Heard::Again => Line::Again(number),
            };
            say(out, &line).map_err(|error| {
                let why = error.to_string();
                lost = Some(error);
                why
            })
        });
        // Nobody listens any more.
        if let Some(error) = lost {
            return Err(error);
        }
        let line = match asked {
            Ok(()) => Line::End(number),
            Err(why) => Line::Failed(number, why),
        };
        say(out, &line)?;
    }
    Ok(())
}

fn say(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
