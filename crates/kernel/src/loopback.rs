//! placeholder
use crate::error::KernelError;
use crate::kernel::ApplyError;
use crate::linux::Linux;
use qiao_core::plan::{Key, Observed, Op, Ownership, State};
pub fn observe(_l: &mut Linux, wanted: &State, observed: &mut Observed) -> Result<(), KernelError> {
    for (k, o) in wanted.iter() {
        if matches!(k, Key::Loopback(_)) {
            observed.insert(k.clone(), Ownership::Marked(o.owner.clone()), o.value.clone());
        }
    }
    Ok(())
}
pub fn survey(_l: &mut Linux, _o: &mut Observed) -> Result<(), KernelError> {
    Ok(())
}
pub fn apply(_l: &mut Linux, _g: &[Op]) -> Result<(), ApplyError> {
    Ok(())
}
