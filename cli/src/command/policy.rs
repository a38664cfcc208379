use nsforensics_engine::policy::Policy;
use std::path::Path;
pub fn load(_: Option<&Path>) -> anyhow::Result<Policy> {
    Ok(Policy::default())
}
pub fn run(_: crate::args::Policy) -> anyhow::Result<crate::Outcome> {
    anyhow::bail!("x")
}
