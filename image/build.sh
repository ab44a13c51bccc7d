#!/bin/bash
# Builds "testvm", the small guest image of this project, from Debian 12 packages only.
#
#   image/build.sh [--force] OUTDIR
#
# OUTDIR/disk.qcow2 is a BIOS-bootable disk: MBR, a FAT partition with syslinux, kernel and initramfs, and an ext4
# root that grows to the end of the disk. Nothing is built when OUTDIR already holds the image of these sources.
# Works as any user: no mount, no loop device. See image/README.md for what the guest does.
#
# Needs on this machine: apt-get, dpkg-deb, mke2fs and debugfs (e2fsprogs), qemu-img (qemu-utils).
# TESTVM_DEB_CACHE=DIR keeps the downloaded packages.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

force=
[ "${1:-}" = --force ] && { force=1; shift; }
out=${1:?usage: image/build.sh [--force] OUTDIR}
src=$(cd "$(dirname "$0")" && pwd)
root_mb=48 boot_mb=20
mirror_packages="busybox-static dropbear-bin e2fsprogs libext2fs2 libcom-err2 libuuid1 libblkid1
  libc6 zlib1g libcrypt1 libtomcrypt1 libtommath1 libgmp10 syslinux syslinux-common mtools"

step() { printf 'image: %s\n' "$*"; }
die() { printf 'image: %s\n' "$*" >&2; exit 1; }

stamp=$(cd "$src" && { cat build.sh; find guest -type f | sort | xargs sha256sum; } | sha256sum | cut -d' ' -f1)
if [ -z "$force" ] && [ -s "$out/disk.qcow2" ] && [ "$(cat "$out/.stamp" 2>/dev/null)" = "$stamp" ]; then
  step "$out/disk.qcow2 is up to date"
  exit 0
fi
for tool in apt-get dpkg-deb mke2fs debugfs qemu-img; do
  command -v $tool >/dev/null || die "$tool is missing: run make deps (apt-get install e2fsprogs qemu-utils)"
done
[ "$(dpkg --print-architecture)" = amd64 ] || die "this build makes amd64 guests and runs on amd64 only"

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/testvm-build.XXXXXX")
trap 'rm -rf "$work"' EXIT
pkg=$work/pkg root=$work/root initramfs=$work/initramfs

fetch_packages() {
  local cache=${TESTVM_DEB_CACHE:-$work/deb} kernel missing=()
  mkdir -p "$cache" "$pkg"
  kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
  [ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64: run apt-get update"
  for p in $kernel $mirror_packages; do
    compgen -G "$cache/${p}_*.deb" >/dev/null || missing+=("$p")
  done
  step "1/5 packages: ${#missing[@]} to download"
  if [ ${#missing[@]} -gt 0 ]; then
    (cd "$cache" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "${missing[@]}") ||
      die "apt-get download failed: check the network, then apt-get update"
  fi
  for p in $kernel $mirror_packages; do
    dpkg-deb -x "$(compgen -G "$cache/${p}_*.deb" | tail -1)" "$pkg"
  done
  busybox=$pkg/bin/busybox
  version=$(basename "$pkg"/lib/modules/*)
}

# libraries_of prints the shared libraries a program of the packages needs, resolved inside the packages.
libraries_of() {
  "$pkg/lib64/ld-linux-x86-64.so.2" --library-path "$pkg/lib/x86_64-linux-gnu:$pkg/usr/lib/x86_64-linux-gnu" --list "$1" |
    awk '$2 == "=>" {print $3}'
}

# install_program PROGRAM DIR
install_program() {
  cp -L "$1" "$root/$2/"
  local lib
  for lib in $(libraries_of "$1"); do
    case $lib in "$pkg"/*) cp -L "$lib" "$root/lib/x86_64-linux-gnu/" ;; *) die "library $lib of $1 is in no package" ;; esac
  done
}

link_applets() { # DIR: every busybox applet except those that would shadow a package manager
  local a
  for a in $("$busybox" --list); do
    case $a in busybox | dpkg* | rpm* | mke2fs) ;; *) ln -sf busybox "$1/bin/$a" ;; esac
  done
}

make_root() {
  step "2/5 root file system"
  mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,tmp,mnt,lib64,lib/x86_64-linux-gnu,home/testvm,root,usr/bin,usr/sbin,etc/dropbear,var/lib/testvm,var/log}
  ln -s ../run "$root/var/run"
  chmod 700 "$root/root" "$root/home/testvm"
  chmod 1777 "$root/tmp"
  cp "$busybox" "$root/bin/busybox"
  link_applets "$root"
  for a in init getty poweroff reboot halt; do ln -s ../bin/busybox "$root/sbin/$a"; done
  install_program "$pkg/usr/sbin/dropbear" usr/sbin
  install_program "$pkg/usr/bin/dropbearkey" usr/bin
  install_program "$pkg/usr/bin/dbclient" usr/bin
  install_program "$pkg/sbin/resize2fs" sbin
  cp -L "$pkg/lib64/ld-linux-x86-64.so.2" "$root/lib64/"
  cp -a "$src/guest/etc" "$src/guest/usr" "$root/"
  # Scripts that begin with #!/bin/bash are common; what testvm has is ash.
  printf '#!/bin/busybox sh\nexec /bin/busybox sh "$@"\n' >"$root/bin/bash"
  chmod 755 "$root/bin/bash"
  ln -s ../../bin/env "$root/usr/bin/env"

  printf 'root:%s:19000:0:99999:7:::\ntestvm:*:19000:0:99999:7:::\n' "$("$busybox" mkpasswd -m sha512 testvm)" >"$root/etc/shadow"
  chmod 600 "$root/etc/shadow"
  printf 'root:x:0:0:root:/root:/bin/sh\ntestvm:x:1000:1000:testvm:/home/testvm:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\ntestvm:x:1000:\n' >"$root/etc/group"
  echo /bin/sh >"$root/etc/shells"
  echo testvm >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
  printf 'PRETTY_NAME="testvm"\nID=testvm\nVERSION_ID="%s"\n' "${stamp:0:12}" >"$root/etc/os-release"
  printf '\ntestvm \\r (\\l)   root password: testvm, console only\n\n' >"$root/etc/issue"
}

# copy_modules TREE NAME...: the modules and all they depend on, with an index for modprobe
copy_modules() {
  local tree=$1 dep=$pkg/lib/modules/$version/modules.dep name path
  shift
  [ -s "$dep" ] || "$busybox" depmod -b "$pkg" "$version"
  mkdir -p "$tree/lib/modules/$version"
  for name in "$@"; do
    awk -F: -v n="${name//_/-}" '{b = $1; sub(/.*\//, "", b); sub(/\.ko$/, "", b); gsub(/_/, "-", b); if (b == n) print $1 $2}' "$dep" |
      tr ' ' '\n' | while read -r path; do
        [ -n "$path" ] || continue
        mkdir -p "$tree/lib/modules/$version/$(dirname "$path")"
        cp "$pkg/lib/modules/$version/$path" "$tree/lib/modules/$version/$path"
      done
  done
  "$busybox" depmod -b "$tree" "$version"
}

make_initramfs() {
  step "3/5 kernel $version, modules, initramfs"
  local boot="virtio_pci virtio_blk virtio_scsi ata_piix sd_mod sr_mod nvme crc32c_generic"
  copy_modules "$root" $boot virtio_net virtio_rng virtio_balloon virtio_console evdev button \
    isofs vfat nls_ascii nls_iso8859-1 nls_cp437 nls_utf8 8021q
  mkdir -p "$initramfs"/{bin,dev,proc,sys,root}
  cp "$busybox" "$initramfs/bin/busybox"
  for a in sh mount modprobe dd readlink cat printf blockdev sleep switch_root echo; do ln -s busybox "$initramfs/bin/$a"; done
  cp "$src/guest/init" "$initramfs/init"
  copy_modules "$initramfs" $boot
  (cd "$initramfs" && find . | sort | "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) | gzip -9n >"$work/initramfs.gz"
}

# make_ext4 FILE: whoever builds, files in the image belong to root, and the user's home to the user
make_ext4() {
  truncate -s ${root_mb}M "$1"
  # -E resize= leaves room in the descriptor table to grow online to 1 TiB.
  mke2fs -q -F -t ext4 -b 4096 -i 8192 -m 0 -L testvmroot -O ^64bit,^metadata_csum,uninit_bg \
    -E root_owner=0:0,lazy_itable_init=1,resize=268435456 -d "$root" "$1" 2>&1 | grep -v '^$' || true
  (cd "$root" && find . -mindepth 1 | sed 's/^\.//') | awk '
    {id = ($0 ~ "^/home/testvm") ? 1000 : 0; print "sif \"" $0 "\" uid " id; print "sif \"" $0 "\" gid " id}' >"$work/owners"
  debugfs -w -f "$work/owners" "$1" >/dev/null 2>&1
}

make_boot() { # FILE: FAT partition with the boot loader
  truncate -s ${boot_mb}M "$1"
  export MTOOLS_SKIP_CHECK=1 MTOOLSRC=/dev/null
  local tools=$pkg/usr/bin
  PATH=$tools:$PATH
  mformat -i "$1" -v TESTVMBOOT -T $((boot_mb * 2048)) -h 16 -s 63 -H 2048 ::
  mcopy -i "$1" "$pkg/boot/vmlinuz-$version" ::vmlinuz
  mcopy -i "$1" "$work/initramfs.gz" ::initrd
  cat >"$work/syslinux.cfg" <<'CFG'
SERIAL 0 115200
DEFAULT testvm
PROMPT 0
LABEL testvm
  LINUX /vmlinuz
  INITRD /initrd
  APPEND console=tty0 console=ttyS0,115200 loglevel=4 panic=10 no_timer_check random.trust_cpu=on mitigations=off cryptomgr.notests edd=off nokaslr
CFG
  mcopy -i "$1" "$work/syslinux.cfg" ::syslinux.cfg
  syslinux --install "$1"
}

le32() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x$(printf %02x $(($1 >> 24 & 255)))"; }

# entry FLAG TYPE START LENGTH: one row of the partition table (LBA only)
entry() { printf "\\x$1\\xfe\\xff\\xff\\x$2\\xfe\\xff\\xff"; le32 "$3"; le32 "$4"; }

make_disk() {
  step "4/5 boot partition and root partition"
  local disk=$work/disk.raw boot=$((boot_mb * 2048)) size=$((root_mb * 2048))
  make_boot "$work/boot.img"
  make_ext4 "$work/root.img"
  truncate -s $((1 + boot_mb + root_mb))M "$disk"
  {
    head -c 440 "$pkg/usr/lib/syslinux/mbr/mbr.bin"
    head -c $((440 - $(stat -c %s "$pkg/usr/lib/syslinux/mbr/mbr.bin"))) /dev/zero
    le32 0x74767374
    printf '\0\0'
    entry 80 0e 2048 $boot
    entry 00 83 $((2048 + boot)) $size
    head -c 32 /dev/zero
    printf '\x55\xaa'
  } | dd of="$disk" conv=notrunc status=none
  dd if="$work/boot.img" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
  dd if="$work/root.img" of="$disk" bs=1M seek=$((1 + boot_mb)) conv=notrunc,sparse status=none
  step "5/5 qcow2"
  qemu-img convert -f raw -O qcow2 "$disk" "$out/disk.qcow2.new"
  mv "$out/disk.qcow2.new" "$out/disk.qcow2"
  echo "$stamp" >"$out/.stamp"
}

fetch_packages
make_root
make_initramfs
make_disk
step "$out/disk.qcow2 $(($(stat -c %s "$out/disk.qcow2") / 1048576)) MB, ready after ${SECONDS} s"
