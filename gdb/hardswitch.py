# Tasklets in gdb: `source gdb/hardswitch.py` (docs/debugging.md), then
#
#   hsw tasklets     all tasklets of all threads
#   hsw bt N         the backtrace of number N, parked or running, sliced or not
#
# It works on live processes, core dumps and qemu's gdbstub, on x86_64 and PowerPC64 (ELFv1), with or without debug
# information: where things are is in the table `hsw_debug`, see src/core/table.rs.
#
# A backtrace of a parked tasklet is gdb's own: an unwinder makes the tasklet's save area the caller of the innermost
# frame, so nothing of the process' registers is changed. The bytes of a sliced tasklet are laid into its window
# meanwhile and taken out again: in a live process by writing its memory, of a core dump in a copy of the file.

import os
import re
import shutil
import struct
import tempfile

import gdb
import gdb.unwinder

# In step with `Table` in src/core/table.rs, a word each, after the magic number.
FIELDS = """version runtimes lock save_area runtime_current runtime_link task_size task_sp task_flags task_refs task_channel
task_window task_buffer task_extra task_switches window_top window_resident buffer_ptr extra_name extra_low extra_spilled
spilled_before spilled_buffer spilled_sp""".split()
MAGIC = b"hswdebug"
VERSION = 2

# In step with `flag` in src/core/task.rs.
BOUND, ALIVE, STARTED, QUEUED, SENDING, RECEIVING, MAIN, SLICED, AWAY = (1 << i for i in range(9))
ZOMBIE, FREE, SEGMENT, SELECTING = 1 << 12, 1 << 15, 1 << 16, 1 << 17


class Failure(gdb.GdbError):
    pass


def read(address, length):
    return bytes(gdb.selected_inferior().read_memory(address, length)) if length else b""


class Port:
    """What differs between processors: the registers of a save area (src/machine/arch/)."""

    def __init__(self, name, sp, pc, registers, top):
        self.name, self.sp, self.pc = name, sp, pc
        self.registers, self.top = registers, top


# Name and offset of each register; `top` is what to add for the stack pointer after the restore.
X86_64 = Port("x86_64", "rsp", "rip", [("rbx", 0), ("rbp", 8), ("rip", 16)], 24)
PPC64 = Port("ppc64", "r1", "pc",
             [(f"r{i}", 16 + 8 * (i - 14)) for i in range(14, 32)] + [("pc", 512), ("lr", 512), ("cr", 504)], 496)


def port():
    frame = gdb.newest_frame() if gdb.selected_thread() else None
    name = frame.architecture().name() if frame else gdb.selected_inferior().architecture().name()
    if name.startswith("powerpc"):
        return PPC64
    if name.startswith("i386:x86-64"):
        return X86_64
    raise Failure(f"hsw: no port for {name}")


class Table:
    def __init__(self):
        try:
            # Not by an expression: what is one depends on the language of the frame.
            text = gdb.execute("info address hsw_debug", to_string=True)
            address = int(re.search(" (0x[0-9a-f]+)", text)[1], 16)
            magic = read(address, 8)
        except (gdb.error, TypeError) as error:
            raise Failure("hsw: no table `hsw_debug`: is this a program with hardswitch, and has it started?") from error
        if magic not in (MAGIC, MAGIC[::-1]):
            raise Failure("hsw: `hsw_debug` is not the table that this script knows")
        self.order = ">" if magic == MAGIC else "<"
        words = struct.unpack(f"{self.order}{len(FIELDS)}Q", read(address + 8, 8 * len(FIELDS)))
        for field, word in zip(FIELDS, words):
            setattr(self, field, word)
        if self.version != VERSION:
            raise Failure(f"hsw: the program's table has version {self.version}, this script knows {VERSION}")

    def word(self, address):
        return struct.unpack(self.order + "Q", read(address, 8))[0]

    def half(self, address):
        return struct.unpack(self.order + "I", read(address, 4))[0]


class Tasklet:
    def __init__(self, table, runtime, thread, at):
        self.at, self.runtime, self.thread = at, runtime, thread
        self.table = table
        self.sp = table.word(at + table.task_sp)
        self.flags = table.half(at + table.task_flags)
        self.refs = table.half(at + table.task_refs)
        self.channel = table.word(at + table.task_channel)
        self.window = table.word(at + table.task_window)
        self.buffer = table.word(at + table.task_buffer + table.buffer_ptr)
        self.switches = table.word(at + table.task_switches)
        self.extra = table.word(at + table.task_extra)
        self.running = table.word(runtime + table.runtime_current) == at

    def name(self):
        if self.extra:
            text = self.table.word(self.extra + self.table.extra_name)
            length = self.table.word(self.extra + self.table.extra_name + 8)
            if text:
                return '"' + read(text, min(length, 256)).decode(errors="replace") + '"'
        return "main" if self.flags & MAIN else hex(self.at)

    def state(self):
        flags = self.flags
        if self.running:
            what = "running"
        elif flags & SELECTING:
            what = "in a select"
        elif flags & (SENDING | RECEIVING):
            what = f"{'sends' if flags & SENDING else 'receives'} on channel {self.channel:#x}"
        elif flags & QUEUED:
            what = "can run"
        elif flags & ALIVE:
            what = "waits in run() or is paused" if flags & MAIN else "paused"
        else:
            return "bound" if flags & BOUND else "not alive"
        if flags & BOUND:
            what += ", has not started"
        elif flags & AWAY:
            what += ", in its slice"
        elif flags & SLICED:
            what += ", in its window"
        return ("zombie, " if flags & ZOMBIE else "") + what

    def parts(self):
        """The save areas to walk from, innermost first, and the bytes that belong into the window meanwhile:
        (sp or None, address of the bytes, where they belong)."""
        table = self.table
        low = self.sp
        if self.flags & SEGMENT:
            low = table.word(self.extra + table.extra_low)
        yield (None if self.running else self.sp), (self.buffer if self.flags & AWAY else 0), low
        spilled = table.word(self.extra + table.extra_spilled) if self.extra else 0
        while spilled:
            sp = table.word(spilled + table.spilled_sp)
            yield sp, table.word(spilled + table.spilled_buffer + table.buffer_ptr), sp
            spilled = table.word(spilled + table.spilled_before)


def tasklets():
    """All of them, thread by thread, main first: a tasklet's number is its place here."""
    table = Table()
    found = []
    runtime = table.runtimes
    while runtime:
        link = runtime + table.runtime_link
        following, thread, chunks, count = struct.unpack(table.order + "4Q", read(link, 32))
        of_thread = []
        for chunk in range(count):
            cells, length = struct.unpack(table.order + "2Q", read(chunks + 16 * chunk, 16))
            for cell in range(length):
                tasklet = Tasklet(table, runtime, thread, cells + cell * table.task_size)
                if not tasklet.flags & FREE and tasklet.refs:
                    of_thread.append(tasklet)
        found = of_thread + found
        runtime = following
    return found


class Unwinder(gdb.unwinder.Unwinder):
    """Makes the save area `sp` the caller of the innermost frame, while it is set."""

    def __init__(self):
        super().__init__("hardswitch")
        self.sp = None

    def __call__(self, pending):
        # Nothing here may ask gdb for frames: it is about to make them.
        if self.sp is None:
            return None
        own = pending.read_register(self.port.sp)
        # The innermost frame alone is ours: its stack pointer is the thread's own.
        if int(own) != self.start:
            return None
        word = own.type
        info = pending.create_unwind_info(FrameId(gdb.Value(self.sp).cast(word), pending.read_register(self.port.pc)))
        for register, value in self.values.items():
            kind = pending.read_register(register).type
            if kind.sizeof == 4:
                value &= 0xFFFF_FFFF
            info.add_saved_register(register, gdb.Value(value).cast(kind))
        return info

    def set(self, table, sp):
        self.sp = None
        gdb.invalidate_cached_frames()
        if sp is not None:
            self.port = port()
            self.start = int(gdb.newest_frame().read_register(self.port.sp))
            self.values = {register: table.word(sp + offset) for register, offset in self.port.registers}
            self.values[self.port.sp] = sp + self.port.top
            self.sp = sp
            gdb.invalidate_cached_frames()


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


UNWINDER = Unwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


class LiveMemory:
    """Lays bytes over the memory of a live process and puts back what was there."""

    def __init__(self):
        self.kept = []

    def lay(self, address, data):
        inferior = gdb.selected_inferior()
        self.kept.append((address, read(address, len(data))))
        inferior.write_memory(address, data)

    def restore(self):
        inferior = gdb.selected_inferior()
        for address, data in reversed(self.kept):
            inferior.write_memory(address, data)
        gdb.invalidate_cached_frames()


class CoreMemory:
    """The same for a core dump: a copy of the file, with those bytes in it, takes its place meanwhile."""

    def __init__(self, path):
        self.path, self.copy = path, None

    def lay(self, address, data):
        if self.copy is None:
            folder = tempfile.mkdtemp(prefix="hsw-core-")
            self.copy = os.path.join(folder, "core")
            shutil.copyfile(self.path, self.copy)
        with open(self.copy, "r+b") as file:
            file.seek(self.offset(file, address, len(data)))
            file.write(data)
        self.load(self.copy)

    @staticmethod
    def offset(file, address, length):
        header = file.read(64)
        order = ">" if header[5] == 2 else "<"
        (at,) = struct.unpack(order + "Q", header[32:40])
        size, count = struct.unpack(order + "2H", header[54:58])
        for i in range(count):
            file.seek(at + i * size)
            kind, _, offset, start, _, in_file = struct.unpack(order + "2I4Q", file.read(40))
            if kind == 1 and start <= address and address + length <= start + in_file:
                return offset + address - start
        raise Failure(f"hsw: the window at {address:#x} is not in the core dump")

    @staticmethod
    def load(path):
        thread = gdb.selected_thread()
        number = thread.num if thread else 1
        gdb.execute(f"core-file {path}", to_string=True)
        gdb.execute(f"thread {number}", to_string=True)
        # gdb keeps what it has read of stacks when another core file has the same process number; a change makes it forget.
        kept = gdb.parameter("stack-cache")
        for value in (not kept, kept):
            gdb.execute(f"set stack-cache {'on' if value else 'off'}", to_string=True)

    def restore(self):
        if self.copy:
            self.load(self.path)
            shutil.rmtree(os.path.dirname(self.copy))
            self.copy = None


def memory():
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is not None and connection.type == "core":
        # gdb has no other way to tell which file it is.
        text = gdb.execute("info files", to_string=True)
        section = text.split("Local core dump file:", 1)[1]
        return CoreMemory(section.split("`", 1)[1].split("'", 1)[0])
    return LiveMemory()


def frames_from(table, sp):
    """gdb's backtrace of the tasklet parked at `sp`, or of the selected thread; without the frame that is the thread's."""
    UNWINDER.set(table, sp)
    try:
        text = gdb.execute("backtrace", to_string=True)
    finally:
        UNWINDER.set(table, None)
    lines = text.splitlines()
    if sp is not None:
        starts = [i for i, line in enumerate(lines) if line.startswith("#")]
        lines = lines[starts[1]:] if len(starts) > 1 else []
    return lines


def select_thread(tasklet):
    """Selects its thread. Of a parked one it may be another: where it is parked does not depend on that."""
    threads = gdb.selected_inferior().threads()
    # A host without an operating system does not number its threads.
    own = [thread for thread in threads if tasklet.thread and tasklet.thread in thread.ptid]
    if not own and not tasklet.thread and len(threads) == 1:
        own = list(threads)
    if own:
        own[0].switch()
    elif tasklet.running and not tasklet.thread:
        raise Failure("hsw: it runs, and the host does not say on which of the threads: `thread apply all backtrace` shows them")
    elif tasklet.running or not gdb.selected_thread():
        raise Failure(f"hsw: its thread, {tasklet.thread}, is not there")


def backtrace(tasklet):
    if tasklet.flags & BOUND or not (tasklet.flags & STARTED or tasklet.running):
        print("(has no stack: not started, or ended)")
        return
    number = 0
    before = gdb.selected_thread()
    select_thread(tasklet)
    for part, (sp, source, low) in enumerate(list(tasklet.parts())):
        over = memory()
        try:
            if source:
                top = tasklet.table.word(tasklet.window + tasklet.table.window_top)
                over.lay(low, read(source, top - low))
            lines = frames_from(tasklet.table, sp)
        finally:
            over.restore()
        if part:
            print("(spilled:)")
        for line in lines:
            if line.startswith("#"):
                _, _, rest = line.partition(" ")
                line = f"#{number:<3} {rest.strip()}"
                number += 1
            print(line)
    if before and before.is_valid():
        before.switch()


class Hsw(gdb.Command):
    """hsw tasklets: list all tasklets.  hsw bt N: the backtrace of one."""

    def __init__(self):
        super().__init__("hsw", gdb.COMMAND_STACK, prefix=True)


def line(number, tasklet):
    mark = "*" if tasklet.running else " "
    return f"{mark}{number:4}  thread {tasklet.thread}  {tasklet.name()}  {tasklet.state()}  ({tasklet.switches} switches)"


class Tasklets(gdb.Command):
    """List the tasklets of all threads: number, thread, name, state, how often it was switched to."""

    def __init__(self):
        super().__init__("hsw tasklets", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for number, tasklet in enumerate(tasklets()):
            print(line(number, tasklet))


class Bt(gdb.Command):
    """The backtrace of a tasklet, by its number in `hsw tasklets` or its name."""

    def __init__(self):
        super().__init__("hsw bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        found = tasklets()
        wanted = argument.strip()
        if wanted.isdecimal() and int(wanted) < len(found):
            return backtrace(found[int(wanted)])
        named = [n for n, tasklet in enumerate(found) if wanted and wanted.strip('"') == tasklet.name().strip('"')]
        if len(named) == 1:
            return backtrace(found[named[0]])
        for number in named:
            print(line(number, found[number]))
        if named:
            raise Failure(f"hsw bt: {len(named)} tasklets have this name; which number?")
        raise Failure("hsw bt: the number or name of a tasklet, as `hsw tasklets` lists them")


Hsw()
Tasklets()
Bt()
