package loop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The part of io_uring's interface that is used (linux/io_uring.h).
const (
	setupCQSize       = 1 << 3
	setupClamp        = 1 << 4
	setupSubmitAll    = 1 << 7
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
	setupNoSQArray    = 1 << 16

	featureSingleMmap = 1 << 0
	featureNoDrop     = 1 << 1
	featureStable     = 1 << 2
	featureExtArg     = 1 << 8

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3

	registerBufferRing = 22

	opPollAdd = 6
	opCancel  = 14
	opConnect = 16
	opClose   = 19
	opSend    = 26
	opReceive = 27

	flagBufferSelect = 1 << 5
	flagSkipSuccess  = 1 << 6

	pollMulti    = 1 << 0
	receiveMulti = 1 << 1
	cancelAll    = 1 << 0
	cancelFD     = 1 << 1

	completionBuffer = 1 << 0
	completionMore   = 1 << 1

	offsetRings   = 0
	offsetEntries = 0x10000000
)

const (
	ringEntries = 1024 // operations that can be queued between two calls
	ringResults = 8192 // completions that the kernel may queue; it keeps what is beyond

	firstBuffers   = 16       // to begin with, of
	ringBuffers    = 64       // given to the kernel to receive into
	ringBufferSize = 20 << 10 // bytes of each: 16 KiB, as records of TLS and many answers are, with what stands before it
	bufferGroup    = 0
)

// sqe is an operation as the kernel takes it (struct io_uring_sqe).
type sqe struct {
	opcode   uint8
	flags    uint8
	priority uint16
	fd       int32
	offset   uint64
	address  uint64
	length   uint32
	opFlags  uint32
	userData uint64
	group    uint16
	_        uint16
	_        int32
	_        [2]uint64
}

// cqe is a completion (struct io_uring_cqe).
type cqe struct {
	userData uint64
	result   int32
	flags    uint32
}

type ringParameters struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// ring is an io_uring instance: queues shared with the kernel for operations and
// for their completions, and buffers that the kernel picks from to receive into.
// It may be used by the thread only that opened it.
type ring struct {
	fd int

	queues  []byte // mapped
	entries []byte // mapped

	sqHead, sqTail *uint32
	sqMask         uint32
	tail           uint32 // operations written; the kernel is told when it is entered
	sqes           []sqe

	cqHead, cqTail *uint32
	cqMask         uint32
	cqes           []cqe

	memory     []byte // the buffers
	bufferRing []byte // the queue of those that the kernel may use
	bufferTail uint16
	offered    int // how many of the buffers are in use: the kernel's or ours

	limit    unix.Timespec // how long enter waits
	argument struct {
		sigmask     uint64
		sigmaskSize uint32
		_           uint32
		timeout     uint64
	}
}

// newRing opens a ring for the calling thread.
func newRing() (*ring, error) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil, errors.New("io_uring is not supported on machines with the most significant byte first")
	}
	p := ringParameters{
		flags: setupCQSize | setupClamp | setupSubmitAll | setupSingleIssuer |
			setupDeferTaskrun | setupNoSQArray,
		cqEntries: ringResults,
	}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("create an io_uring instance: %w", errno)
	}
	r := &ring{fd: int(fd)}
	if err := r.open(&p); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *ring) open(p *ringParameters) (err error) {
	unix.CloseOnExec(r.fd)
	const needed = featureSingleMmap | featureNoDrop | featureStable | featureExtArg
	if p.features&needed != needed {
		return fmt.Errorf("the kernel's io_uring has the features %#x, needed are %#x", p.features, needed)
	}
	const cqeSize, sqeSize = int(unsafe.Sizeof(cqe{})), int(unsafe.Sizeof(sqe{}))
	const access, shared = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := int(p.cq.cqes) + int(p.cqEntries)*cqeSize
	if r.queues, err = unix.Mmap(r.fd, offsetRings, size, access, shared); err != nil {
		return fmt.Errorf("map io_uring's queues: %w", err)
	}
	if r.entries, err = unix.Mmap(r.fd, offsetEntries, int(p.sqEntries)*sqeSize, access, shared); err != nil {
		return fmt.Errorf("map io_uring's operations: %w", err)
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[offset])) }
	r.sqHead, r.sqTail, r.sqMask = at(p.sq.head), at(p.sq.tail), *at(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = at(p.cq.head), at(p.cq.tail), *at(p.cq.mask)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.queues[p.cq.cqes])), p.cqEntries)
	r.argument.timeout = uint64(uintptr(unsafe.Pointer(&r.limit)))
	return r.provideBuffers()
}

// provideBuffers registers the buffers that are received into.
func (r *ring) provideBuffers() (err error) {
	const access, private = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	if r.memory, err = unix.Mmap(-1, 0, ringBuffers*ringBufferSize, access, private); err != nil {
		return fmt.Errorf("allocate io_uring's buffers: %w", err)
	}
	if r.bufferRing, err = unix.Mmap(-1, 0, ringBuffers*16, access, private); err != nil {
		return fmt.Errorf("allocate io_uring's buffers: %w", err)
	}
	registration := struct {
		address uint64
		entries uint32
		group   uint16
		flags   uint16
		_       [3]uint64
	}{uint64(uintptr(unsafe.Pointer(&r.bufferRing[0]))), ringBuffers, bufferGroup, 0, [3]uint64{}}
	if err := r.register(registerBufferRing, unsafe.Pointer(&registration), 1); err != nil {
		return fmt.Errorf("register io_uring's buffers: %w", err)
	}
	r.offerBuffers()
	return nil
}

// offerBuffers gives the kernel more buffers, and reports whether there were any.
// A loop begins with few: those that it has are used in turn, and memory that was
// touched once stays.
func (r *ring) offerBuffers() bool {
	more := min(max(r.offered, firstBuffers), ringBuffers-r.offered)
	for range more {
		r.giveBuffer(uint16(r.offered))
		r.offered++
	}
	return more > 0
}

func (r *ring) register(what uintptr, argument unsafe.Pointer, n uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), what, uintptr(argument), n, 0, 0)
	return asError(errno)
}

func (r *ring) close() {
	for _, mapped := range [][]byte{r.queues, r.entries} {
		if mapped != nil {
			unix.Munmap(mapped)
		}
	}
	unix.Close(r.fd)
	for _, mapped := range [][]byte{r.bufferRing, r.memory} {
		if mapped != nil {
			unix.Munmap(mapped)
		}
	}
}

// buffer returns one of the buffers.
func (r *ring) buffer(id uint16) []byte {
	at := int(id) * ringBufferSize
	return r.memory[at : at+ringBufferSize : at+ringBufferSize]
}

// giveBuffer lets the kernel receive into a buffer (again). The queue's tail
// stands in the unused last two bytes of its first entry, beside the buffer's
// number there: both are stored in one.
func (r *ring) giveBuffer(id uint16) {
	first := r.bufferRing[12:16:16]
	at := int(r.bufferTail%ringBuffers) * 16
	entry := r.bufferRing[at : at+16 : at+16]
	address := uint64(uintptr(unsafe.Pointer(&r.memory[int(id)*ringBufferSize])))
	binary.NativeEndian.PutUint64(entry[0:], address)
	binary.NativeEndian.PutUint32(entry[8:], ringBufferSize)
	binary.NativeEndian.PutUint16(entry[12:], id)
	r.bufferTail++
	number := binary.NativeEndian.Uint16(first)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&first[0])), uint32(number)|uint32(r.bufferTail)<<16)
}

// next returns an operation to be filled in. When the queue is full the kernel
// takes what is in it first.
func (r *ring) next() *sqe {
	for r.tail-atomic.LoadUint32(r.sqHead) == uint32(len(r.sqes)) {
		r.enter(0, 0, true) // short of memory it takes a part, or nothing
	}
	s := &r.sqes[r.tail&r.sqMask]
	*s = sqe{}
	r.tail++
	return s
}

// enter hands the queued operations to the kernel and waits until at least that
// many completions are there, up to a limit; negative: none. Behind the
// scheduler's back the wait must be short.
func (r *ring) enter(completions uintptr, limit time.Duration, raw bool) {
	atomic.StoreUint32(r.sqTail, r.tail)
	submit := uintptr(r.tail - atomic.LoadUint32(r.sqHead))
	flags, argument, size := uintptr(enterGetEvents), uintptr(0), uintptr(0)
	if limit >= 0 && completions > 0 {
		r.limit = unix.NsecToTimespec(int64(limit))
		flags |= enterExtArg
		argument, size = uintptr(unsafe.Pointer(&r.argument)), unsafe.Sizeof(r.argument)
	}
	if raw {
		unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, completions, flags, argument, size)
	} else {
		unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, completions, flags, argument, size)
	}
}

// pending returns how many completions can be taken.
func (r *ring) pending() uint32 { return atomic.LoadUint32(r.cqTail) - *r.cqHead }

// take returns the oldest completion.
func (r *ring) take() cqe {
	head := *r.cqHead
	c := r.cqes[head&r.cqMask]
	atomic.StoreUint32(r.cqHead, head+1)
	return c
}
