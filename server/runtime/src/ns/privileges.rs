//! What a sandbox's processes may not do.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use rustix::{fs::Mode, process};

use crate::protocol::{Failure, Step};

/// What `root` needs to install packages. No device nodes and no raw sockets: device access and
/// the host's network are not confined by anything else.
const ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT);

/// Becomes the sandbox's user for good.
pub(super) fn give_up(plan: &super::Plan) -> Result<(), Failure> {
    let kept = if plan.uid == 0 && plan.userns.is_none() { ROOT } else { CapabilitySet::empty() };
    for capability in CapabilitySet::all().difference(kept).iter() {
        // EINVAL: the kernel does not know this one.
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).step("drop capabilities"),
        }
    }
    if plan.userns.is_none() {
        let (uid, gid) = (process::Uid::from_raw(plan.uid), process::Gid::from_raw(plan.gid));
        set_thread_groups(&[gid]).step("set the groups")?;
        set_thread_res_gid(gid, gid, gid).step("set the group")?;
        set_thread_res_uid(uid, uid, uid).step("set the user")?;
    }
    let _ = clear_ambient_capability_set();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })
        .step("drop capabilities")?;
    set_no_new_privs(true).step("set no_new_privs")?;
    // Keeps /proc/<pid>/exe, which is not the sandbox's, out of reach of what runs inside.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step("set dumpable")?;
    process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}
