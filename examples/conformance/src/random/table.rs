//! The commands that a random program is made of: the fields of each argument, and what is drawn
//! for each field.

use core::mem::offset_of;

use xen_pac::command::Command as _;
use xen_pac::event_channel::{self as ev, command as event};
use xen_pac::grant_table::{self as gt, command as grant};
use xen_pac::hvm::{self, command as hvm_op};
use xen_pac::hypercall::{HypercallNr, MulticallEntry};
use xen_pac::memory::{self as mem, command as memory};
use xen_pac::sched::{self, command as sched_op};
use xen_pac::vcpu::{self as vc, command as vcpu_op};
use xen_pac::version::XenFeatureInfo;

/// What is drawn for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A domain: usually `DOMID_SELF`.
    Domid,
    /// A domain to connect with: the peer of the program, or any.
    Remote,
    /// A domain for a grant: usually the caller's own number.
    Granter,
    /// The same if the flags in field 0 have this bit, and usually `DOMID_SELF` if not.
    GranterIf(u64),
    /// A port: usually a low one.
    Port,
    /// A vCPU: usually one that there is.
    Vcpu,
    /// The frame of a page that comes and goes, or an impossible one.
    Spare,
    /// The frame in an entry of the grant table.
    Granted,
    /// The frame for vCPUs' blocks, or an impossible one.
    Blocks,
    /// A grant reference.
    Ref,
    /// A reference if the flags in field 0 have this bit, a frame if not.
    RefIf(u64),
    /// The handle of a mapping.
    Handle,
    /// An address at which a grant is mapped.
    Target,
    /// The same, or no address.
    Mapped,
    /// What is mapped: an index if the space in field 0 is one of Xen's pages, a frame if not.
    Index,
    /// The address of a list at this offset of the argument, or an address without memory.
    List(u16),
    /// The address of the area that Xen writes, or another.
    Area,
    /// One of these.
    OneOf(&'static [u64]),
    /// The same, in a field as wide as a register.
    Word(&'static [u64]),
    /// A number below this one.
    Below(u64),
    /// Written by Xen.
    Out,
    /// The same, in a field as wide as a register.
    OutWord,
    /// The same: the peer of a channel, if the status at this offset is that of one with a peer.
    OutPeer(usize),
    /// The same: the port of that peer, which is at the first offset. The ports of domain 0 depend
    /// on the guests that ran before.
    OutPeerPort(usize, usize),
}

/// A field of an argument, or a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) size: usize,
    pub(super) kind: Kind,
}

/// As [`Field::at`]: the register with this index.
pub(super) const REGISTER: usize = 1 << 16;
/// As [`Field::at`]: the number of the hypercall.
pub(super) const NUMBER: usize = 1 << 17;
/// Where the lists of an argument begin.
pub(super) const LIST: usize = 128;
/// How far apart they are.
pub(super) const LISTS: usize = 32;

/// What a step of a program does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// A hypercall with the argument's address in the register `pointer`.
    Call { number: u32, command: u32, pointer: usize },
    /// A hypercall for an array of arguments of `stride` bytes.
    Array { number: u32, command: u32, stride: usize },
    /// A hypercall with values in registers.
    Values { number: u32, command: u32 },
    /// Flips the mask of a port.
    FlipMask,
    /// Clears the pending bit of a port.
    TakePending,
    /// Clears the upcall flag and the selector of a vCPU.
    TakeUpcall,
    /// Turns interrupts on for a moment, and counts the events that are handled.
    Deliver,
    /// Writes an entry of the grant table.
    WriteEntry,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    /// How often it is drawn.
    pub(super) weight: u32,
    pub(super) does: Does,
    pub(super) fields: &'static [Field],
    pub(super) platforms: Platforms,
    /// An answer that is no error depends on the host: only that there is one is compared.
    pub(super) is_of_the_host: bool,
}

/// Where a command is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platforms {
    All,
    X86,
}

use Kind::{
    Area, Below, Blocks, Domid, Granted, Granter, GranterIf, Handle, Index, List, Mapped, OneOf,
    Out, OutPeer, OutPeerPort, OutWord, Port, Ref, RefIf, Remote, Spare, Target, Vcpu, Word,
};

const fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// The size of a field that is as wide as a register, and of a frame's number.
const W: usize = size_of::<usize>();

const fn at(at: usize, size: usize, kind: Kind) -> Field {
    Field { at, size, kind }
}

const fn register(index: usize, kind: Kind) -> Field {
    Field { at: REGISTER + index, size: W, kind }
}

/// Fields by their names in an argument.
macro_rules! fields {
    ($of:ty { $($($path:ident).+: $kind:expr),* $(,)? } $($more:expr),*) => {
        &[
            $(Field {
                at: offset_of!($of, $($path).+),
                size: size_of_field(|of: &$of| &of.$($path).+),
                kind: $kind,
            },)*
            $($more,)*
        ]
    };
}

const fn row(name: &'static str, weight: u32, does: Does, fields: &'static [Field]) -> Command {
    Command { name, weight, does, fields, platforms: Platforms::All, is_of_the_host: false }
}

const fn x86(of: Command) -> Command {
    Command { platforms: Platforms::X86, ..of }
}

const fn of_the_host(of: Command) -> Command {
    Command { is_of_the_host: true, ..of }
}

const fn ev(command: u32) -> Does {
    Does::Call { number: HypercallNr::EVENT_CHANNEL_OP.0, command, pointer: 1 }
}

const fn vcpu(command: u32) -> Does {
    Does::Call { number: HypercallNr::VCPU_OP.0, command, pointer: 2 }
}

const fn hvm(command: u32) -> Does {
    Does::Call { number: HypercallNr::HVM_OP.0, command, pointer: 1 }
}

const fn mem(command: u32) -> Does {
    Does::Call { number: HypercallNr::MEMORY_OP.0, command, pointer: 1 }
}

const fn sched(command: u32) -> Does {
    Does::Call { number: HypercallNr::SCHED_OP.0, command, pointer: 1 }
}

const fn version() -> Does {
    Does::Call { number: HypercallNr::XEN_VERSION.0, command: 0, pointer: 1 }
}

const fn gt<T>(command: u32) -> Does {
    Does::Array { number: HypercallNr::GRANT_TABLE_OP.0, command, stride: size_of::<T>() }
}

const fn values(number: HypercallNr) -> Does {
    Does::Values { number: number.0, command: 0 }
}

const VCPU: Field = register(1, Vcpu);
const BIG: u64 = 1 << 40;
const ORDERS: Kind = OneOf(&[0, 0, 0, 0, 0, 1, 1, 19, 20, 31, 32, 40, 255, 0xffff_ffff]);
const EXTENTS: Kind = Word(&[0, 1, 1, 1, 2, 2, 3, 3, 1 << 26, (1 << 26) + BIG, 1 << 63, u64::MAX]);
/// The pages and lists of a reservation. More extents or larger ones would use up the host's
/// memory.
const RESERVATION: &[Field] = fields!(mem::XenMemoryReservation {
    domid: Domid,
    extent_order: ORDERS,
    nr_extents: EXTENTS,
    extent_start: List(LIST as u16),
    mem_flags: OneOf(&[0]),
} at(LIST, W, Spare), at(LIST + W, W, Spare), at(LIST + 2 * W, W, Spare));
/// Where the status of a port is, and the domain that it is connected to.
const STATUS: usize = offset_of!(ev::EvtchnStatus, status);
const CONNECTED: usize = offset_of!(ev::EvtchnStatus, u);
const PARAM_VALUES: &[u64] = &[0, 1, 2, 7, 0x1000, 1 << 32, u64::MAX];

/// All commands.
pub(super) static COMMANDS: &[Command] = &[
    row(
        "alloc_unbound",
        9,
        ev(event::AllocUnbound::NUMBER),
        fields!(ev::EvtchnAllocUnbound { dom: Domid, remote_dom: Domid, port: Out }),
    ),
    row(
        "bind_interdomain",
        9,
        ev(event::BindInterdomain::NUMBER),
        fields!(ev::EvtchnBindInterdomain {
            remote_dom: Remote,
            remote_port: Port,
            local_port: Out
        }),
    ),
    row(
        "bind_virq",
        8,
        ev(event::BindVirq::NUMBER),
        fields!(ev::EvtchnBindVirq {
            virq: OneOf(&[
                0,
                1,
                2,
                3,
                4,
                5,
                6,
                7,
                8,
                9,
                10,
                11,
                12,
                13,
                14,
                15,
                16,
                17,
                18,
                19,
                20,
                21,
                22,
                23,
                24,
                25,
                31,
                32,
                0xffff_ffff
            ]),
            vcpu: Vcpu,
            port: Out,
        }),
    ),
    row(
        "bind_ipi",
        5,
        ev(event::BindIpi::NUMBER),
        fields!(ev::EvtchnBindIpi { vcpu: Vcpu, port: Out }),
    ),
    row(
        "bind_pirq",
        4,
        ev(event::BindPirq::NUMBER),
        fields!(ev::EvtchnBindPirq {
            pirq: OneOf(&[
                0,
                1,
                2,
                3,
                5,
                8,
                9,
                14,
                15,
                16,
                17,
                255,
                256,
                1000,
                1023,
                1024,
                4095,
                0xffff_ffff
            ]),
            flags: Below(3),
            port: Out,
        }),
    ),
    row("close", 8, ev(event::Close::NUMBER), fields!(ev::EvtchnClose { port: Port })),
    row("send", 12, ev(event::Send::NUMBER), fields!(ev::EvtchnSend { port: Port })),
    row(
        "status",
        5,
        ev(event::Status::NUMBER),
        fields!(ev::EvtchnStatus {
        dom: Domid, port: Port, status: Out, vcpu: Out,
    } at(CONNECTED, 4, OutPeer(STATUS)), at(CONNECTED + 4, 4, OutPeerPort(CONNECTED, STATUS))),
    ),
    row(
        "bind_vcpu",
        7,
        ev(event::BindVcpu::NUMBER),
        fields!(ev::EvtchnBindVcpu { port: Port, vcpu: Vcpu }),
    ),
    row("unmask", 6, ev(event::Unmask::NUMBER), fields!(ev::EvtchnUnmask { port: Port })),
    row("reset", 1, ev(event::Reset::NUMBER), fields!(ev::EvtchnReset { dom: Domid })),
    row(
        "init_control",
        1,
        ev(event::InitControl::NUMBER),
        fields!(ev::EvtchnInitControl {
            control_gfn: Spare,
            offset: OneOf(&[4, 4020, 4032, 4096, 0xffff_fff8]),
            vcpu: Vcpu,
            link_bits: Out,
        }),
    ),
    row(
        "init_control_without_memory",
        1,
        ev(event::InitControl::NUMBER),
        fields!(ev::EvtchnInitControl {
            control_gfn: OneOf(&[1 << 44, u64::MAX]),
            offset: OneOf(&[0, 8, 4024]),
            vcpu: Vcpu,
            link_bits: Out,
        }),
    ),
    row(
        "expand_array",
        1,
        ev(event::ExpandArray::NUMBER),
        fields!(ev::EvtchnExpandArray { array_gfn: Spare }),
    ),
    row(
        "set_priority",
        2,
        ev(event::SetPriority::NUMBER),
        fields!(ev::EvtchnSetPriority { port: Port, priority: Below(18) }),
    ),
    row(
        "event_op",
        1,
        ev(0),
        // Two of these commands take a domain, whose number differs from run to run.
        &[register(0, Word(&[14, 15, 16, 99, 0xffff_ffff, 0x1_0000_0005, 0x40])), at(0, 2, Domid)],
    ),
    row("flip_mask", 7, Does::FlipMask, &[at(0, 4, Below(128))]),
    row("take_pending", 5, Does::TakePending, &[at(0, 4, Below(128))]),
    row("take_upcall", 5, Does::TakeUpcall, &[at(0, 4, Below(2))]),
    row("deliver", 6, Does::Deliver, &[]),
    x86(row(
        "initialise",
        2,
        vcpu(vcpu_op::Initialise::NUMBER),
        &[VCPU, at(0, 4, Below(4)), at(4, 4, Below(2)), at(8 + 44, 4, OneOf(&[0, 0x8000_0001]))],
    )),
    row("up", 2, vcpu(vcpu_op::Up::NUMBER), &[VCPU]),
    row("down", 1, vcpu(vcpu_op::Down::NUMBER), &[VCPU]),
    row("is_up", 2, vcpu(vcpu_op::IsUp::NUMBER), &[VCPU]),
    row("get_runstate_info", 2, vcpu(vcpu_op::GetRunstateInfo::NUMBER), &[VCPU]),
    row(
        "register_runstate",
        2,
        vcpu(vcpu_op::RegisterRunstateMemoryArea::NUMBER),
        &[VCPU, at(0, W, Area)],
    ),
    row(
        "set_periodic",
        2,
        vcpu(vcpu_op::SetPeriodicTimer::NUMBER),
        fields!(vc::VcpuSetPeriodicTimer {
            period_ns: OneOf(&[0, 1, 999_999, 1 << 61, (1 << 62) - 1, 1 << 62, 1 << 63, u64::MAX]),
        } VCPU),
    ),
    row("stop_periodic", 1, vcpu(vcpu_op::StopPeriodicTimer::NUMBER), &[VCPU]),
    row(
        "set_singleshot",
        2,
        vcpu(vcpu_op::SetSingleshotTimer::NUMBER),
        fields!(vc::VcpuSetSingleshotTimer {
            timeout_abs_ns: OneOf(&[1 << 50, 1 << 60, 1 << 62, (1 << 63) - 1]), flags: Below(4),
        } VCPU),
    ),
    row("stop_singleshot", 1, vcpu(vcpu_op::StopSingleshotTimer::NUMBER), &[VCPU]),
    row(
        "register_vcpu_info",
        2,
        vcpu(vcpu_op::RegisterVcpuInfo::NUMBER),
        fields!(vc::VcpuRegisterVcpuInfo {
            // No two blocks overlap: the first has times of the host. 0x104 is aligned for 32-bit
            // guests only.
            mfn: Blocks, offset: OneOf(&[0, 128, 64, 0x104, 1, 0xfc0, 0xfd8, 0xff8, 0x1000, 0x1fc0,
                0xffff_ffc0]),
            rsvd: Below(2),
        } VCPU),
    ),
    row("send_nmi", 1, vcpu(vcpu_op::SendNmi::NUMBER), &[VCPU]),
    row("get_physid", 1, vcpu(vcpu_op::GetPhysid::NUMBER), &[VCPU, at(0, 8, Out)]),
    row(
        "register_time",
        1,
        vcpu(vcpu_op::RegisterVcpuTimeMemoryArea::NUMBER),
        &[VCPU, at(0, W, Area)],
    ),
    row(
        "vcpu_op",
        2,
        vcpu(0),
        &[VCPU, register(0, Word(&[14, 15, 16, 17, 99, 0xffff_ffff, 0x1_0000_0003]))],
    ),
    row("version", 1, version(), &[register(0, Word(&[0]))]),
    row(
        "features",
        2,
        version(),
        fields!(XenFeatureInfo {
        submap_idx: OneOf(&[0, 0, 1, 2, 0xffff_ffff]), submap: Out,
    } register(0, Word(&[6]))),
    ),
    of_the_host(row(
        "version_op",
        7,
        version(),
        &[
            register(
                0,
                Word(&[
                    1,
                    2,
                    3,
                    4,
                    5,
                    7,
                    8,
                    9,
                    10,
                    11,
                    12,
                    13,
                    14,
                    15,
                    16,
                    99,
                    0xffff_ffff,
                    0x8000_0000,
                    0x1_0000_0000,
                ]),
            ),
            at(0, 4, OneOf(&[0, 1, 5, 19, 20, 21, 100])),
        ],
    )),
    row(
        "get_param",
        6,
        hvm(hvm_op::GetParam::NUMBER),
        fields!(hvm::XenHvmParam { domid: Domid, index: Below(40), value: Out }),
    ),
    row(
        "set_param",
        5,
        hvm(hvm_op::SetParam::NUMBER),
        fields!(hvm::XenHvmParam { domid: Domid, index: Below(40), value: OneOf(PARAM_VALUES) }),
    ),
    row(
        "param_op",
        1,
        hvm(hvm_op::GetParam::NUMBER),
        fields!(hvm::XenHvmParam {
        domid: Domid, index: OneOf(&[40, 45, 0x8000_0000, 0xffff_ffff]), value: Out,
    } register(0, Word(&[0, 1]))),
    ),
    row(
        "set_callback",
        2,
        hvm(hvm_op::SetParam::NUMBER),
        fields!(hvm::XenHvmParam {
            domid: Domid,
            index: OneOf(&[0]),
            value: OneOf(&[
                0,
                5,
                1 << 56,
                1 << 56 | 9,
                2 << 56 | 0x40,
                2 << 56 | 0xff,
                2 << 56,
                2 << 56 | 0x120,
                3 << 56,
                4 << 56 | 1,
                u64::MAX
            ]),
        }),
    ),
    // Programs for Arm leave it out on every host.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    x86(row(
        "upcall_vector",
        2,
        hvm(hvm_op::SetEvtchnUpcallVector::NUMBER),
        fields!(hvm::XenHvmEvtchnUpcallVector {
            vcpu: Vcpu,
            vector: OneOf(&[0, 1, 15, 16, 31, 32, 0xe3, 0xff]),
        }),
    )),
    row(
        "hvm_op",
        3,
        hvm(0),
        &[
            register(
                0,
                Word(&[
                    2,
                    3,
                    4,
                    5,
                    6,
                    7,
                    8,
                    9,
                    11,
                    12,
                    13,
                    14,
                    15,
                    16,
                    17,
                    18,
                    19,
                    20,
                    21,
                    22,
                    24,
                    25,
                    26,
                    27,
                    99,
                    0xffff_ffff,
                    0x1_0000_0001,
                ]),
            ),
            at(0, 2, Domid),
        ],
    ),
    row("increase_reservation", 2, mem(memory::IncreaseReservation::NUMBER), RESERVATION),
    row(
        "increase_reservation_without_list",
        2,
        mem(memory::IncreaseReservation::NUMBER),
        fields!(mem::XenMemoryReservation {
            domid: Domid,
            extent_order: ORDERS,
            nr_extents: EXTENTS,
            extent_start: Word(&[0]),
            mem_flags: OneOf(&[0]),
        }),
    ),
    row("decrease_reservation", 4, mem(memory::DecreaseReservation::NUMBER), RESERVATION),
    row("populate_physmap", 5, mem(memory::PopulatePhysmap::NUMBER), RESERVATION),
    row(
        "add_to_physmap",
        6,
        mem(memory::AddToPhysmap::NUMBER),
        fields!(mem::XenAddToPhysmap {
            space: Below(7),
            domid: Domid,
            size: Below(3),
            idx: Index,
            gpfn: Spare,
        }),
    ),
    row(
        "add_own_to_physmap",
        3,
        mem(memory::AddToPhysmap::NUMBER),
        fields!(mem::XenAddToPhysmap {
            domid: OneOf(&[0x7ff0]),
            size: OneOf(&[0, 1]),
            space: Below(2),
            idx: Word(&[0, 0, 0, 1, 2, 63, 64, 1 << 32, 0x8000_0000, 0x8000_0001]),
            gpfn: Spare,
        }),
    ),
    row(
        "add_to_physmap_batch",
        3,
        mem(memory::AddToPhysmapBatch::NUMBER),
        fields!(mem::XenAddToPhysmapBatch {
            space: Below(7), domid: Domid, size: Below(4), u: Domid,
            idxs: List(LIST as u16), gpfns: List((LIST + LISTS) as u16),
            errs: List((LIST + 2 * LISTS) as u16),
        } at(LIST, W, Index), at(LIST + W, W, Index), at(LIST + 2 * W, W, Index),
          at(LIST + LISTS, W, Spare), at(LIST + LISTS + W, W, Spare),
          at(LIST + LISTS + 2 * W, W, Spare),
          at(LIST + 2 * LISTS, 4, Out), at(LIST + 2 * LISTS + 4, 4, Out),
          at(LIST + 2 * LISTS + 8, 4, Out)),
    ),
    row(
        "remove_from_physmap",
        3,
        mem(memory::RemoveFromPhysmap::NUMBER),
        fields!(mem::XenRemoveFromPhysmap { domid: Domid, gpfn: Spare }),
    ),
    of_the_host(row(
        "maximum_reservation",
        1,
        mem(memory::MaximumReservation::NUMBER),
        &[at(0, 2, Domid)],
    )),
    of_the_host(row("maximum_gpfn", 1, mem(memory::MaximumGpfn::NUMBER), &[at(0, 2, Domid)])),
    of_the_host(row(
        "current_reservation",
        1,
        mem(memory::CurrentReservation::NUMBER),
        &[at(0, 2, Domid)],
    )),
    of_the_host(row(
        "memory_op",
        4,
        mem(0),
        &[register(
            0,
            Word(&[
                2,
                5,
                8,
                10,
                11,
                12,
                13,
                16,
                17,
                18,
                19,
                20,
                21,
                22,
                24,
                25,
                26,
                27,
                28,
                29,
                30,
                39,
                63,
                64 | 2,
                64 | 3,
                64 | 9,
                64 | 15,
                99,
                0xffff_ffff,
                0x1_0000_0003,
            ]),
        )],
    )),
    row(
        "memory_op_start",
        3,
        mem(0),
        &[
            register(0, Word(&[64, 128, 65, 129, 70, 134, 192, 193, 198, 64 << 20])),
            at(0, W, List(LIST as u16)),
            at(W, W, Word(&[0, 1, 2, 3])),
            at(offset_of!(mem::XenMemoryReservation, domid), 2, Domid),
            at(LIST, W, Spare),
            at(LIST + W, W, Spare),
            at(LIST + 2 * W, W, Spare),
        ],
    ),
    row(
        "map_grant_ref",
        8,
        gt::<gt::GnttabMapGrantRef>(grant::MapGrantRef::NUMBER),
        fields!(gt::GnttabMapGrantRef {
            flags: OneOf(&[2, 2, 2, 6, 6, 0, 1, 3, 10, 18, 0x22]),
            host_addr: Target,
            reference: Ref,
            dom: Granter,
            status: Out,
            handle: Out,
        }),
    ),
    row(
        "unmap_grant_ref",
        7,
        gt::<gt::GnttabUnmapGrantRef>(grant::UnmapGrantRef::NUMBER),
        fields!(gt::GnttabUnmapGrantRef { handle: Handle, host_addr: Mapped, status: Out }),
    ),
    row(
        "grant_copy",
        10,
        gt::<gt::GnttabCopy>(grant::Copy::NUMBER),
        fields!(gt::GnttabCopy {
            flags: OneOf(&[0, 0, 1, 1, 2, 2, 3, 3, 4]), source.u: RefIf(1),
            source.domid: GranterIf(1),
            source.offset: OneOf(&[0, 0, 0, 8, 4088, 4095, 4096, 0xffff]),
            dest.u: RefIf(2), dest.domid: GranterIf(2),
            dest.offset: OneOf(&[0, 0, 0, 8, 4088, 4095, 4096, 0xffff]),
            len: OneOf(&[0, 8, 8, 8, 1, 4096, 4097, 0xffff]), status: Out,
        }),
    ),
    row(
        "query_size",
        2,
        gt::<gt::GnttabQuerySize>(grant::QuerySize::NUMBER),
        fields!(gt::GnttabQuerySize {
            dom: Domid,
            nr_frames: Out,
            max_nr_frames: Out,
            status: Out
        }),
    ),
    row(
        "setup_table",
        3,
        gt::<gt::GnttabSetupTable>(grant::SetupTable::NUMBER),
        fields!(gt::GnttabSetupTable {
            dom: Domid,
            nr_frames: OneOf(&[0, 1, 2, 3, 4, 65, 0x7fff_ffff, 0xffff_ffff]),
            frame_list: List(LIST as u16),
            status: Out,
        }),
    ),
    row(
        "set_version",
        3,
        gt::<gt::GnttabSetVersion>(grant::SetVersion::NUMBER),
        fields!(gt::GnttabSetVersion { version: OneOf(&[1, 1, 2, 2, 0, 3, 0xffff_ffff]) }),
    ),
    row(
        "get_version",
        1,
        gt::<gt::GnttabGetVersion>(grant::GetVersion::NUMBER),
        fields!(gt::GnttabGetVersion { dom: Domid, version: Out }),
    ),
    row(
        "swap_grant_ref",
        2,
        gt::<gt::GnttabSwapGrantRef>(grant::SwapGrantRef::NUMBER),
        fields!(gt::GnttabSwapGrantRef { ref_a: Ref, ref_b: Ref, status: Out }),
    ),
    row(
        "grant_op",
        2,
        gt::<[u64; 8]>(0),
        &[register(
            0,
            Word(&[3, 4, 7, 9, 12, 13, 14, 99, 0xffff_ffff, 0x1_0000_0006, 0x1006, 0x1000, 0x1005]),
        )],
    ),
    row(
        "write_entry",
        16,
        Does::WriteEntry,
        &[
            at(0, 4, OneOf(&[8, 9, 10, 11])),
            at(4, 2, OneOf(&[1, 1, 1, 1, 5, 5, 0, 2, 3])),
            at(6, 2, Granter),
            at(8, 8, Granted),
        ],
    ),
    row("yield", 1, sched(sched_op::YieldCpu::NUMBER), &[]),
    row(
        "poll",
        4,
        sched(sched_op::Poll::NUMBER),
        fields!(sched::SchedPoll {
        ports: List(LIST as u16), timeout: OneOf(&[1, 1000]),
        nr_ports: OneOf(&[0, 1, 2, 3, 129, 0x8000_0000, 0xffff_ffff]),
    } at(LIST, 4, Port), at(LIST + 4, 4, Port), at(LIST + 8, 4, Port)),
    ),
    row(
        "watchdog",
        1,
        sched(sched_op::Watchdog::NUMBER),
        fields!(sched::SchedWatchdog {
            id: OneOf(&[0, 1, 2, 3, 0xffff_ffff]),
            timeout: OneOf(&[0, 100_000]),
        }),
    ),
    row(
        "pin_override",
        1,
        sched(sched_op::PinOverride::NUMBER),
        fields!(sched::SchedPinOverride {
            pcpu: OneOf(&[0, 1, 2, 64, 4095, 0xffff_ffff, 0x8000_0000, 0x7fff_ffff]),
        }),
    ),
    row(
        "remote_shutdown",
        1,
        sched(sched_op::RemoteShutdown::NUMBER),
        fields!(sched::SchedRemoteShutdown { domain_id: Domid, reason: Below(6) }),
    ),
    row("sched_op", 1, sched(0), &[register(0, Word(&[8, 9, 99, 0xffff_ffff, 0x1_0000_0000]))]),
    row(
        "vm_assist",
        2,
        values(HypercallNr::VM_ASSIST),
        &[
            register(0, Word(&[0, 1, 0, 1, 2, 3, 0x1_0000_0000])),
            register(1, Word(&[0, 1, 2, 3, 4, 5, 6, 31, 32, 0xffff_ffff, 0x1_0000_0005])),
        ],
    ),
    row(
        "console_io",
        1,
        values(HypercallNr::CONSOLE_IO),
        &[
            register(0, Word(&[0, 1, 2, 99, 0xffff_ffff, 0x1_0000_0000])),
            register(
                1,
                Word(&[0, 1, 128, 129, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000]),
            ),
            register(2, List(u16::MAX)),
        ],
    ),
    x86(row("set_timer_op", 1, values(HypercallNr::SET_TIMER_OP), &[register(0, Word(&[0]))])),
    row(
        "multicall",
        2,
        Does::Call { number: HypercallNr::MULTICALL.0, command: 0, pointer: 0 },
        &[
            register(1, Word(&[0, 1, 2])),
            at(0, W, Word(&[17, 13, 63, 18])),
            at(offset_of!(MulticallEntry, result), W, OutWord),
            at(offset_of!(MulticallEntry, args), W, Word(&[0, 7, 99])),
            at(size_of::<MulticallEntry>(), W, Word(&[17, 21, 13, 63])),
            at(size_of::<MulticallEntry>() + W, W, OutWord),
            at(size_of::<MulticallEntry>() + 2 * W, W, Word(&[0, 7, 99])),
        ],
    ),
    row(
        "hypercall",
        6,
        values(HypercallNr(0)),
        &[
            Field {
                at: NUMBER,
                size: 4,
                kind: OneOf(&[
                    0,
                    1,
                    2,
                    3,
                    4,
                    5,
                    6,
                    7,
                    8,
                    9,
                    10,
                    11,
                    14,
                    16,
                    19,
                    22,
                    25,
                    26,
                    27,
                    28,
                    30,
                    31,
                    33,
                    35,
                    36,
                    37,
                    38,
                    39,
                    40,
                    41,
                    42,
                    43,
                    47,
                    49,
                    50,
                    55,
                    56,
                    63,
                    64,
                    65,
                    100,
                    0x3fff_ffff,
                    0x4000_0000,
                    0x8000_0000,
                    0xffff_ffff,
                ]),
            },
            register(0, List(u16::MAX)),
        ],
    ),
];
