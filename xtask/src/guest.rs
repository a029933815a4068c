//! The guest: Debian's kernel, a few of its modules, busybox, and this machine's files.

use crate::patience::{ALIVE, Patience};
use crate::shell::{output, run, top};
use crate::vm::target_dir;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// The packages whose kernel is taken, the first that there is. Those of newer releases have another name.
const KERNELS: [&str; 2] = ["linux-image-6.12-amd64", "linux-image-amd64"];
/// The modules that the tests need, and what they see the machine's files by. `libcrc32c` asks for the first.
const MODULES: &str = "crc32c_generic 9pnet_virtio 9p virtio_net veth bridge dummy macvlan ipvlan 8021q vrf tun nf_tables nft_chain_nat nft_nat \
    nft_masq nft_ct nft_fib_inet nft_meta_bridge nf_conntrack_netlink";

/// A checkout, or a target directory, below `/tmp` or `/run` would be hidden by what is mounted there.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt /machine
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo 'qiao-vm: the kernel is up'
for module in MODULES; do /bin/busybox modprobe $module || exec /bin/busybox poweroff -f; done
echo 'qiao-vm: its modules are there'
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro machine /mnt
/bin/busybox mount -o bind /mnt /machine
/bin/busybox mount -t proc proc /mnt/proc
/bin/busybox mount -t sysfs sys /mnt/sys
/bin/busybox mount -t devtmpfs dev /mnt/dev
/bin/busybox mount -t tmpfs tmp /mnt/run
/bin/busybox mount -t tmpfs tmp /mnt/tmp
/bin/busybox mount -t cgroup2 cgroup /mnt/sys/fs/cgroup
for dir in DIRS; do
    [ -d "/mnt$dir" ] && continue
    /bin/busybox mkdir -p "/mnt$dir"
    /bin/busybox mount -o bind "/machine$dir" "/mnt$dir"
done
/bin/busybox cp /script /mnt/tmp/script
while /bin/busybox sleep 20; do echo 'ALIVE'; done &
/bin/busybox chroot /mnt /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh /tmp/script
/bin/busybox poweroff -f
"#;

/// One processor: with two, an emulated one now and then meets an instruction that the other is just changing
/// (`int3` in the middle of a function).
const PROCESSORS: &str = "1";

/// Boots the guest, runs a shell script there, and gives what it said.
pub fn run_script(script: &str) -> Result<String> {
    let dir = target_dir()?.join("vm");
    let tree = kernel(&dir)?;
    let initramfs = initramfs(&dir, &tree, script)?;
    let image = only(&tree.join("boot"), "vmlinuz-")?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-M", "q35", "-accel", "tcg", "-cpu", "Nehalem", "-m", "1024", "-smp", PROCESSORS, "-nic", "none",
    ]);
    // A network device that leads nowhere: to be lent.
    qemu.args(["-device", "virtio-net-pci"]);
    qemu.args(["-nographic", "-no-reboot", "-append", "console=ttyS0 quiet panic=-1 qiao.guest"]);
    qemu.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    qemu.args(["-virtfs", "local,path=/,mount_tag=machine,security_model=none,readonly=on,multidevs=remap"]);
    let begun = Instant::now();
    eprintln!("$ qemu-system-x86_64 … ({})", tree.display());
    let child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let said = listen(child.context("start qemu-system-x86_64")?)?;
    let log = dir.join("console.log");
    fs::write(&log, &said).with_context(|| format!("write {}", log.display()))?;
    eprintln!("the guest ran for {:.1} s", begun.elapsed().as_secs_f64());
    Ok(said)
}

/// The guest's output until the guest is off, or is given up.
fn listen(mut child: Child) -> Result<String> {
    let mut out = child.stdout.take().context("the guest's console")?;
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = out.read(&mut bytes) {
            let _ = tell.send(bytes[..count].to_vec());
        }
    });
    let (begun, mut patience, mut said) = (Instant::now(), Patience::default(), Vec::new());
    let mut ended = false;
    loop {
        match told.recv_timeout(Duration::from_millis(500)) {
            Ok(bytes) => {
                patience.hear(begun.elapsed(), &String::from_utf8_lossy(&bytes));
                said.extend(bytes);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let why = patience.is_over(begun.elapsed()).filter(|_| !ended);
        if let Some(why) = why {
            eprintln!("the guest is ended: {why}");
            child.kill().context("end qemu")?;
            ended = true;
        }
    }
    child.wait().context("wait for qemu")?;
    let _ = reader.join();
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The package's files, unpacked once.
fn kernel(dir: &Path) -> Result<PathBuf> {
    let tree = dir.join("kernel");
    if tree.join("unpacked").exists() {
        return Ok(tree);
    }
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree).with_context(|| format!("create {}", tree.display()))?;
    let package = package()?;
    run(Command::new("apt-get").args(["-q", "download", &package]).current_dir(dir))?;
    let file = only(dir, &format!("{package}_"))?;
    run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&tree))?;
    fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    let version = version(&tree)?;
    run(Command::new("busybox").args(["depmod", "-b"]).arg(&tree).arg(&version))?;
    fs::write(tree.join("unpacked"), "").context("note that the kernel is unpacked")?;
    Ok(tree)
}

/// The package with the files: the first is only a name for it.
fn package() -> Result<String> {
    for name in KERNELS {
        let depends = output(Command::new("apt-cache").args(["depends", name])).unwrap_or_default();
        let found = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
        if let Some(rest) = found {
            return Ok(format!("linux-image-{rest}"));
        }
    }
    bail!("apt has none of {}: its lists may be old (apt-get update)", KERNELS.join(", "))
}

fn version(tree: &Path) -> Result<String> {
    let dir = only(&tree.join("lib/modules"), "")?;
    Ok(dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

/// The one file of a directory whose name begins so.
fn only(dir: &Path, begins: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    let mut found = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = found.find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(begins)));
    found.with_context(|| format!("no `{begins}…` in {}", dir.display()))
}

/// What the guest begins with: busybox, the modules, and what it shall do.
fn initramfs(dir: &Path, tree: &Path, script: &str) -> Result<PathBuf> {
    let (root, version) = (dir.join("root"), version(tree)?);
    let _ = fs::remove_dir_all(&root);
    let modules = root.join("lib/modules").join(&version);
    for sub in [root.join("bin"), root.join("sbin"), modules.clone()] {
        fs::create_dir_all(&sub).with_context(|| format!("create {}", sub.display()))?;
    }
    let busybox = crate::shell::find("busybox").context("busybox")?;
    fs::copy(busybox, root.join("bin/busybox")).context("copy busybox")?;
    std::os::unix::fs::symlink("/bin/busybox", root.join("sbin/modprobe")).context("link modprobe")?;
    copy_modules(&tree.join("lib/modules").join(&version), &modules)?;
    run(Command::new("busybox").args(["depmod", "-b"]).arg(&root).arg(&version))?;
    let dirs = [top(), target_dir()?].map(|dir| format!("'{}'", dir.display())).join(" ");
    fs::write(
        root.join("init"),
        INIT.replace("MODULES", MODULES).replace("ALIVE", ALIVE).replace("DIRS", &dirs),
    )
    .context("write init")?;
    fs::write(root.join("script"), script).context("write the script")?;
    let file = dir.join("initramfs");
    let pack = "chmod 755 init && find . | busybox cpio -o -H newc > ../initramfs";
    run(Command::new("sh").args(["-c", pack]).current_dir(&root))?;
    Ok(file)
}

/// Copies the modules and those that they need, unpacked.
fn copy_modules(from: &Path, to: &Path) -> Result<()> {
    let text = fs::read_to_string(from.join("modules.dep")).context("read modules.dep")?;
    let needs: BTreeMap<&str, (&str, &str)> = text.lines().filter_map(dependencies).collect();
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for name in MODULES.split_whitespace() {
        let (path, others) = needs.get(name).with_context(|| format!("the package has no module {name}"))?;
        wanted.insert(path);
        wanted.extend(others.split_whitespace());
    }
    let mut packed = Vec::new();
    for path in wanted {
        let file = to.join(path);
        let parent = file.parent().context("a module's directory")?;
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::copy(from.join(path), &file).with_context(|| format!("copy {path}"))?;
        packed.extend(path.ends_with(".xz").then_some(file));
    }
    output(Command::new("busybox").arg("unxz").args(packed)).map(drop)
}

/// A line of `modules.dep`: the module's name, its file, and the files of those that it needs.
fn dependencies(line: &str) -> Option<(&str, (&str, &str))> {
    let (path, others) = line.split_once(':')?;
    let name = path.rsplit('/').next()?.split('.').next()?;
    Some((name, (path, others)))
}
