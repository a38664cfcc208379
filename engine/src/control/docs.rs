//! `docs/controls.md`, written from the registry so that it cannot be out of date.

use super::{CONTROLS, control_of, metas};
use std::fmt::Write;

/// The document.
pub fn controls_markdown() -> String {
    let mut out = String::from(
        "# Controls and checks\n\n\
         Generated from the registry in `engine/src/control`; a test compares. Severities are \
         those of the usual violation. What cannot be known from a capture is `not_observed`, \
         never a pass. Warnings (`info`, `low`) fail nothing; where nothing else came of a check, \
         it is `pass` only if it warned more often than it could not see, else `not_observed`.\n",
    );
    for control in CONTROLS {
        let _ = write!(
            out,
            "\n## {} {}\n\n{}; assurance levels {}; STRIDE: {}; AATT: {}.\n\n\
             | check | what it finds | severity | observable with | ATT&CK | source |\n\
             |---|---|---|---|---|---|\n",
            control.id,
            control.title,
            control.requirement,
            control.levels.join(", "),
            control.stride.join(", "),
            control.aatt.join(", "),
        );
        for meta in metas() {
            if control_of(meta.id).is_none_or(|of| of.id != control.id) {
                continue;
            }
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} | {} | {} |",
                meta.id,
                meta.title,
                meta.severity.name(),
                meta.observable_with,
                meta.attack.join(", "),
                meta.source,
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_document_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/controls.md");
        let expected = super::controls_markdown();
        if std::env::var_os("NSF_BLESS").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let actual = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            actual, expected,
            "run the test with NSF_BLESS=1 to write docs/controls.md"
        );
    }
}
