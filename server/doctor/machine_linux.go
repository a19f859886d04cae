package doctor

import (
	"strconv"
	"syscall"
)

// kinds are the numbers of file systems (statfs(2)) that are judged or usual.
var kinds = map[uint32]string{
	0x6969: "nfs", 0x517b: "smb", 0xff534d42: "cifs", 0xfe534d42: "smb2", 0x00c36400: "ceph", 0x5346414f: "afs",
	0x01021997: "9p", 0x65735546: "fuse", 0x01021994: "tmpfs", 0x858458f6: "ramfs", 0x794c7630: "overlayfs",
	0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x2fc12fc1: "zfs", 0xf2f52010: "f2fs",
}

func volumeOf(path string) (volume, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return volume{}, err
	}
	number := uint32(s.Type) //nolint:gosec // it has 32 bits
	kind, ok := kinds[number]
	if !ok {
		kind = "0x" + strconv.FormatUint(uint64(number), 16)
	}
	block := uint64(s.Bsize) //nolint:gosec // not negative
	return volume{kind: kind, free: s.Bavail * block, total: s.Blocks * block}, nil
}

const (
	staUnsync = 0x40 // STA_UNSYNC
	timeError = 5    // TIME_ERROR
)

// isSynchronised asks the kernel whether something keeps the clock right.
func isSynchronised() (bool, error) {
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	if err != nil {
		return false, err
	}
	return state != timeError && t.Status&staUnsync == 0, nil
}
