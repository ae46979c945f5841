# Stops at every instruction of the assembly routines and asks gdb who called: the CFI must be right everywhere, not only
# where compilers look. Run by tests/gdb/run on examples/parked; prints lines that begin with `step:`.
import gdb

# In the order of the files.
ROUTINES = ["hsw_asm_transfer", "hsw_asm_swap", "hsw_asm_leave", "hsw_asm_start", "hsw_asm_call_on", "hsw_asm_walk",
            "hsw_asm_cxa_globals"]
# Stops at each instruction: main, own stacks, slices, newborns, spills and segments come by in turn.
VISITS = 8
# How chains of callers end: a tasklet's root, or main.
ROOTS = ("hsw_asm_start", "main", "__libc_start_main", "_start")
FINE = (gdb.FRAME_UNWIND_NO_REASON, gdb.FRAME_UNWIND_OUTERMOST)

ppc64 = gdb.selected_inferior().architecture().name().startswith("powerpc") if hasattr(
    gdb.Inferior, "architecture") else "powerpc" in gdb.execute("show architecture", to_string=True)

if ppc64:
    ROUTINES.insert(1, "hsw_asm_transfer_late")


def entry(name):
    text = gdb.execute(f"info address {name}", to_string=True)
    address = next(int(word.rstrip("."), 16) for word in text.split() if word.startswith("0x"))
    # ELFv1: the symbol is that of a descriptor.
    return int.from_bytes(gdb.selected_inferior().read_memory(address, 8), "big") if ppc64 else address


def instructions():
    """Address -> routine; those addresses at which nobody has called: where a tasklet has been left for good, and
    where slices are exchanged and neither stack is whole; and those behind the decision who goes on."""
    found, alone = {}, set()
    decided = set()
    starts = [entry(name) for name in ROUTINES]
    for name, start, end in zip(ROUTINES, starts, starts[1:] + [None]):
        listing = []
        for line in gdb.execute(f"x/500i {start:#x}", to_string=True).splitlines():
            address, text = line.replace("=>", "").split(":", 1)
            address = int(address.split()[0], 16)
            if address == end:
                break
            listing.append((address, text.split("\t")[-1].strip()))
            if end is None and text.split()[-1] in ("blr", "ret"):
                break
        # What fills the space up to the next is not code.
        while "nop" in listing[-1][1] or ".long" in listing[-1][1]:
            listing.pop()
        found.update((address, name) for address, _ in listing)
        first = lambda what: next((a for a, text in listing if text.startswith(what)), 0)
        if name == "hsw_asm_transfer":
            restored = first("blr" if ppc64 else "jmp    *")
            called = first("bctrl" if ppc64 else "call   *%rax")
            decided.update(address for address, _ in listing if called < address <= restored)
            alone.update(address for address, _ in listing if address > restored)
        if name == "hsw_asm_transfer_late":
            # From where registers change up to where the next tasklet has all of its own.
            changed, arrived = first("addi    r4,r3,-3"), first("blr")
            alone.update(address for address, _ in listing if changed <= address <= arrived)
        if name == "hsw_asm_leave":
            gone = first("mr      r1,r3" if ppc64 else "mov    %rax,%rsp")
            alone.update(address for address, _ in listing if address <= gone)
        if name == "hsw_asm_start":
            alone.update(address for address, _ in listing)
    return found, alone, decided


def chain():
    frame, names = gdb.newest_frame(), []
    while frame is not None and len(names) < 400:
        names.append(frame.name() or "??")
        last, frame = frame, frame.older()
    return names, last.unwind_stop_reason()


def problem(may_be_alone, decided, names, reason):
    """What is wrong with this chain of callers, if anything."""
    known = [n for n in names[1:] if n != "??"]
    if may_be_alone and len(names) == 1:
        return None
    # A spill has put a new root over the old one, and is about to go there.
    if decided and any("hardswitch::core::spill" in n for n in names[1:8]):
        return None
    if reason not in FINE:
        return gdb.frame_stop_reason_string(reason)
    if not known or not any(known[-1].endswith(root) for root in ROOTS):
        return "no root"
    return None


def copy_in_narrow_pieces():
    """Has slices of all sizes copied as on a processor without wide registers (x86_64)."""
    text = gdb.execute("info address hsw_asm_wide", to_string=True)
    address = next(int(word.rstrip("."), 16) for word in text.split() if word.startswith("0x"))
    gdb.selected_inferior().write_memory(address, b"\xff" * 8)


def run():
    code, alone, decided = instructions()
    again = not ppc64
    left = dict.fromkeys(code, VISITS)
    points = {}
    for address in code:
        points[address] = gdb.Breakpoint(f"*{address:#x}", internal=True)
        points[address].silent = True
    wrong, narrow = [], False
    while True:
        gdb.execute("continue", to_string=True)
        if not gdb.selected_thread():
            if not again:
                break
            # Once more, the other way. It is set when the runtime exists, which chooses by the processor.
            again = False
            gdb.execute("run", to_string=True)
            if not gdb.selected_thread():
                break
            narrow = True
        pc = gdb.newest_frame().pc()
        if pc not in code:
            continue
        if narrow:
            copy_in_narrow_pieces()
        names, reason = chain()
        what = problem(pc in alone, pc in decided, names, reason)
        if what:
            wrong.append(f"{code[pc]} at {pc:#x}: {what}: {' < '.join(names[:6])} ... {names[-1]}")
        left[pc] -= 1
        if left[pc] == 0:
            points[pc].delete()
    for name in ROUTINES:
        mine = [address for address, routine in code.items() if routine == name]
        seen = [address for address in mine if left[address] < VISITS]
        missed = " ".join(f"{address - mine[0]:+#x}" for address in mine if address not in seen)
        print(f"step: {name}: stopped at {len(seen)} of {len(mine)} instructions", missed and f"(not at {missed})")
    for line in wrong[:20]:
        print("step: wrong:", line)
    print(f"step: {len(wrong)} wrong of {sum(VISITS - n for n in left.values())} stops")


gdb.execute("set pagination off")
gdb.execute("set backtrace past-main on")
run()
