# The stack switch for PowerPC64, ELFv1 (big-endian Linux, the PS3's PPU).
# `src/machine/arch/ppc64_elfv1.rs` holds the drawings and must be kept in step with the
# offsets here.
#
# Only instructions of the Cell PPU: no lmw/stmw (microcoded), one mfcr, single
# field mtocrf. Register numbers are bare: 1 is r1, in stvx 20 is v20.
# CFI columns: 0-31 r0-r31, 32-63 f0-f31, 65 LR, 70 CR (as GCC names it),
# 77-108 v0-v31, 109 VRSAVE.

# A function symbol of ELFv1 is a descriptor in .opd: entry, TOC, environment.
.macro HSW_ENTRY name
    .globl \name
    .hidden \name
    .type \name, @function
    .section ".opd", "aw", @progbits
    .p2align 3
\name:
    .quad .L.\name, .TOC.@tocbase, 0
    .text
    .p2align 4
.endm

# Calls through the descriptor in register \desc (not r0). The caller has saved
# r2 at 40(1); it is back afterwards.
.macro HSW_CALL desc
    ld 0, 0(\desc)
    mtctr 0
    ld 2, 8(\desc)
    ld 11, 16(\desc)
    bctrl
    ld 2, 40(1)
.endm

# Where the registers of a save area lie, relative to the CFA (the caller's r1).
.macro HSW_CFI_SAVED
    .cfi_offset 14, -480
    .cfi_offset 15, -472
    .cfi_offset 16, -464
    .cfi_offset 17, -456
    .cfi_offset 18, -448
    .cfi_offset 19, -440
    .cfi_offset 20, -432
    .cfi_offset 21, -424
    .cfi_offset 22, -416
    .cfi_offset 23, -408
    .cfi_offset 24, -400
    .cfi_offset 25, -392
    .cfi_offset 26, -384
    .cfi_offset 27, -376
    .cfi_offset 28, -368
    .cfi_offset 29, -360
    .cfi_offset 30, -352
    .cfi_offset 31, -344
    .cfi_offset 46, -336
    .cfi_offset 47, -328
    .cfi_offset 48, -320
    .cfi_offset 49, -312
    .cfi_offset 50, -304
    .cfi_offset 51, -296
    .cfi_offset 52, -288
    .cfi_offset 53, -280
    .cfi_offset 54, -272
    .cfi_offset 55, -264
    .cfi_offset 56, -256
    .cfi_offset 57, -248
    .cfi_offset 58, -240
    .cfi_offset 59, -232
    .cfi_offset 60, -224
    .cfi_offset 61, -216
    .cfi_offset 62, -208
    .cfi_offset 63, -200
    .cfi_offset 97, -192
    .cfi_offset 98, -176
    .cfi_offset 99, -160
    .cfi_offset 100, -144
    .cfi_offset 101, -128
    .cfi_offset 102, -112
    .cfi_offset 103, -96
    .cfi_offset 104, -80
    .cfi_offset 105, -64
    .cfi_offset 106, -48
    .cfi_offset 107, -32
    .cfi_offset 108, -16
    .cfi_offset 109, -488
.endm

# Copies r7 bytes, a multiple of 16, from r5 to r6, both on such boundaries; they do
# not overlap. r8, r9, r10 are 16, 32, 48. Uses r0, CTR, CR0 and v0 to v3.
.macro HSW_COPY
    srdi. 0, 7, 6
    beq 2f
    mtctr 0
1:
    lvx 0, 0, 5
    lvx 1, 8, 5
    lvx 2, 9, 5
    lvx 3, 10, 5
    stvx 0, 0, 6
    stvx 1, 8, 6
    stvx 2, 9, 6
    stvx 3, 10, 6
    addi 5, 5, 64
    addi 6, 6, 64
    bdnz 1b
2:
    andi. 0, 7, 48
    beq 4f
    srdi 0, 0, 4
    mtctr 0
3:
    lvx 0, 0, 5
    stvx 0, 0, 6
    addi 5, 5, 16
    addi 6, 6, 16
    bdnz 3b
4:
.endm

# Saves what the ABI says a call must preserve, in a save area that r1 points at
# afterwards. Leaves r3 and r4 alone.
.macro HSW_SAVE
    mflr 0
    mfcr 12
    std 0, 16(1)
    std 12, 8(1)
    stdu 1, -496(1)
    .cfi_def_cfa_offset 496
    .cfi_offset 65, 16
    .cfi_offset 70, 8
    std 14, 16(1)
    std 15, 24(1)
    std 16, 32(1)
    std 17, 40(1)
    std 18, 48(1)
    std 19, 56(1)
    std 20, 64(1)
    std 21, 72(1)
    std 22, 80(1)
    std 23, 88(1)
    std 24, 96(1)
    std 25, 104(1)
    std 26, 112(1)
    std 27, 120(1)
    std 28, 128(1)
    std 29, 136(1)
    std 30, 144(1)
    std 31, 152(1)
    stfd 14, 160(1)
    stfd 15, 168(1)
    stfd 16, 176(1)
    stfd 17, 184(1)
    stfd 18, 192(1)
    stfd 19, 200(1)
    stfd 20, 208(1)
    stfd 21, 216(1)
    stfd 22, 224(1)
    stfd 23, 232(1)
    stfd 24, 240(1)
    stfd 25, 248(1)
    stfd 26, 256(1)
    stfd 27, 264(1)
    stfd 28, 272(1)
    stfd 29, 280(1)
    stfd 30, 288(1)
    stfd 31, 296(1)
    mfspr 0, 256
    stw 0, 8(1)
    addi 5, 1, 304
    addi 9, 1, 368
    addi 10, 1, 432
    li 6, 16
    li 7, 32
    li 8, 48
    stvx 20, 0, 5
    stvx 21, 6, 5
    stvx 22, 7, 5
    stvx 23, 8, 5
    stvx 24, 0, 9
    stvx 25, 6, 9
    stvx 26, 7, 9
    stvx 27, 8, 9
    stvx 28, 0, 10
    stvx 29, 6, 10
    stvx 30, 7, 10
    stvx 31, 8, 10
    HSW_CFI_SAVED
.endm

# Restores what the save area at r1 holds, and returns there.
.macro HSW_RESTORE
    lwz 0, 8(1)
    addi 5, 1, 304
    addi 9, 1, 368
    addi 10, 1, 432
    li 6, 16
    li 7, 32
    li 8, 48
    mtspr 256, 0
    lvx 20, 0, 5
    lvx 21, 6, 5
    lvx 22, 7, 5
    lvx 23, 8, 5
    lvx 24, 0, 9
    lvx 25, 6, 9
    lvx 26, 7, 9
    lvx 27, 8, 9
    lvx 28, 0, 10
    lvx 29, 6, 10
    lvx 30, 7, 10
    lvx 31, 8, 10
    lfd 14, 160(1)
    lfd 15, 168(1)
    lfd 16, 176(1)
    lfd 17, 184(1)
    lfd 18, 192(1)
    lfd 19, 200(1)
    lfd 20, 208(1)
    lfd 21, 216(1)
    lfd 22, 224(1)
    lfd 23, 232(1)
    lfd 24, 240(1)
    lfd 25, 248(1)
    lfd 26, 256(1)
    lfd 27, 264(1)
    lfd 28, 272(1)
    lfd 29, 280(1)
    lfd 30, 288(1)
    lfd 31, 296(1)
    ld 14, 16(1)
    ld 15, 24(1)
    ld 16, 32(1)
    ld 17, 40(1)
    ld 18, 48(1)
    ld 19, 56(1)
    ld 20, 64(1)
    ld 21, 72(1)
    ld 22, 80(1)
    ld 23, 88(1)
    ld 24, 96(1)
    ld 25, 104(1)
    ld 26, 112(1)
    ld 27, 120(1)
    ld 28, 128(1)
    ld 29, 136(1)
    ld 30, 144(1)
    ld 31, 152(1)
    ld 0, 512(1)
    ld 12, 504(1)
    addi 1, 1, 496
    .cfi_def_cfa_offset 0
    .cfi_restore 14
    .cfi_restore 15
    .cfi_restore 16
    .cfi_restore 17
    .cfi_restore 18
    .cfi_restore 19
    .cfi_restore 20
    .cfi_restore 21
    .cfi_restore 22
    .cfi_restore 23
    .cfi_restore 24
    .cfi_restore 25
    .cfi_restore 26
    .cfi_restore 27
    .cfi_restore 28
    .cfi_restore 29
    .cfi_restore 30
    .cfi_restore 31
    .cfi_restore 46
    .cfi_restore 47
    .cfi_restore 48
    .cfi_restore 49
    .cfi_restore 50
    .cfi_restore 51
    .cfi_restore 52
    .cfi_restore 53
    .cfi_restore 54
    .cfi_restore 55
    .cfi_restore 56
    .cfi_restore 57
    .cfi_restore 58
    .cfi_restore 59
    .cfi_restore 60
    .cfi_restore 61
    .cfi_restore 62
    .cfi_restore 63
    .cfi_restore 97
    .cfi_restore 98
    .cfi_restore 99
    .cfi_restore 100
    .cfi_restore 101
    .cfi_restore 102
    .cfi_restore 103
    .cfi_restore 104
    .cfi_restore 105
    .cfi_restore 106
    .cfi_restore 107
    .cfi_restore 108
    .cfi_restore 109
    mtlr 0
    .cfi_restore 65
    # CR2, CR3 and CR4 are the callee's to preserve; one field at a time is the
    # fast form on Cell.
    mtocrf 0x20, 12
    mtocrf 0x10, 12
    mtocrf 0x08, 12
    .cfi_restore 70
    blr
.endm

# hsw_asm_transfer(op = r3, arg = r4)
#
# Makes a save area, hands its address to `op(arg, sp)`, and goes on with the save
# area that `op` returns: the same one (nothing happened) or another tasklet's, or one
# that an exchange of slices brings in. `op` runs in a frame of its own below the save
# area: 48 bytes of linkage and the 64 bytes in which a callee may home its register
# arguments; neither is part of a slice.
    HSW_ENTRY hsw_asm_transfer
.L.hsw_asm_transfer:
    .cfi_startproc
    HSW_SAVE
    mr 12, 3
    mr 3, 4
    mr 4, 1
    stdu 1, -112(1)
    .cfi_def_cfa_offset 608
    std 2, 40(1)
    HSW_CALL 12
    # An even answer is a save area in place, an odd one an `Exchange`.
    clrldi 0, 3, 63
    cmpdi 0, 0
    bne .Lhsw_exchange
    mr 1, 3
    .cfi_def_cfa_offset 496
.Lhsw_resume:
    HSW_RESTORE

    # The next tasklet's bytes are not in place, and the window that they belong to
    # is often the one that this code runs on: so there is no stack to call on. r1 is the
    # leaving tasklet's while its bytes go out, and then below those that come in:
    # there is room for a signal handler in either place.
.Lhsw_exchange:
    # From here on there is no caller to unwind to.
    .cfi_def_cfa 1, 0
    .cfi_undefined 65
    addi 4, 3, -1
    li 8, 16
    li 9, 32
    li 10, 48
    ld 5, 0(4)
    ld 6, 8(4)
    ld 7, 16(4)
    HSW_COPY
    ld 5, 24(4)
    ld 6, 32(4)
    ld 7, 40(4)
    mr 1, 6
    HSW_COPY
    ld 1, 48(4)
    .cfi_def_cfa 1, 496
    .cfi_offset 65, 16
    .cfi_offset 70, 8
    HSW_CFI_SAVED
    b .Lhsw_resume
    .cfi_endproc
    .size hsw_asm_transfer, . - .L.hsw_asm_transfer

# hsw_asm_swap(save = r3, to = r4)
#
# Stores the address of the save area at `save` and goes on with the one at `to`,
# which is in place: the switch when nothing is left to decide.
    HSW_ENTRY hsw_asm_swap
.L.hsw_asm_swap:
    .cfi_startproc
    HSW_SAVE
    std 1, 0(3)
    mr 1, 4
    HSW_RESTORE
    .cfi_endproc
    .size hsw_asm_swap, . - .L.hsw_asm_swap

# hsw_asm_leave(to = r3), does not return
#
# Goes on with what an `op` might have returned, without saving anything: the end of a
# tasklet.
    HSW_ENTRY hsw_asm_leave
.L.hsw_asm_leave:
    .cfi_startproc
    .cfi_undefined 65
    clrldi 0, 3, 63
    cmpdi 0, 0
    bne .Lhsw_exchange
    mr 1, 3
    .cfi_def_cfa 1, 496
    .cfi_offset 65, 16
    .cfi_offset 70, 8
    HSW_CFI_SAVED
    b .Lhsw_resume
    .cfi_endproc
    .size hsw_asm_leave, . - .L.hsw_asm_leave

# hsw_asm_start: where a newborn's save area "returns" to.
#
# r14 = the address at which entry(task, body) is named, r15 = task, r16 = body. r1 is the root
# frame, whose back chain is 0. `entry` returns what an `op` might: with that the tasklet is left
# for good.
#
# A return address belongs to the instruction before it: unwinders look up
# address - 4, which must fall into this function. So it begins with a nop, and newborns begin
# behind it.
    HSW_ENTRY hsw_asm_start
.L.hsw_asm_start:
    .cfi_startproc
    .cfi_undefined 65
    nop
    ld 14, 0(14)
    std 2, 40(1)
    mr 3, 15
    mr 4, 16
    HSW_CALL 14
    b .L.hsw_asm_leave
    .cfi_endproc
    .size hsw_asm_start, . - .L.hsw_asm_start

# hsw_asm_call_on(top = r3, f = r4, arg = r5)
#
# An ordinary call of `f(arg)` on another stack. The back chain and the CFI lead
# back through it, so that backtraces and unwinding cross it. A signal frame to
# debuggers: gdb takes any other frame that lies higher than its caller for damage.
    HSW_ENTRY hsw_asm_call_on
.L.hsw_asm_call_on:
    .cfi_startproc
    .cfi_signal_frame
    mflr 0
    std 0, 16(1)
    stdu 1, -128(1)
    .cfi_def_cfa_offset 128
    .cfi_offset 65, 16
    std 31, 112(1)
    .cfi_offset 31, -16
    mr 31, 1
    .cfi_def_cfa_register 31
    std 1, -112(3)
    addi 1, 3, -112
    std 2, 40(1)
    mr 12, 4
    mr 3, 5
    HSW_CALL 12
    mr 1, 31
    .cfi_def_cfa_register 1
    ld 31, 112(1)
    .cfi_restore 31
    addi 1, 1, 128
    .cfi_def_cfa_offset 0
    ld 0, 16(1)
    mtlr 0
    .cfi_restore 65
    blr
    .cfi_endproc
    .size hsw_asm_call_on, . - .L.hsw_asm_call_on

# hsw_asm_walk(sp = r3, f = r4, a = r5, b = r6)
#
# Calls `f(a, b)`, and the CFI says that the tasklet parked at `sp` did: r31 is
# its save area. An unwinder that starts in `f` walks from here into its frames.
# `f` returns, and returns to our caller; it must not unwind.
    HSW_ENTRY hsw_asm_walk
.L.hsw_asm_walk:
    .cfi_startproc
    mflr 0
    std 0, 16(1)
    stdu 1, -128(1)
    .cfi_def_cfa_offset 128
    .cfi_offset 65, 16
    std 31, 112(1)
    .cfi_offset 31, -16
    std 2, 40(1)
    mr 31, 3
    mr 12, 4
    mr 3, 5
    mr 4, 6
    .cfi_remember_state
    .cfi_def_cfa 31, 496
    .cfi_offset 65, 16
    .cfi_offset 70, 8
    HSW_CFI_SAVED
    HSW_CALL 12
    .cfi_restore_state
    ld 31, 112(1)
    .cfi_restore 31
    addi 1, 1, 128
    .cfi_def_cfa_offset 0
    ld 0, 16(1)
    mtlr 0
    .cfi_restore 65
    blr
    .cfi_endproc
    .size hsw_asm_walk, . - .L.hsw_asm_walk

# hsw_asm_cxa_globals() -> address of this thread's C++ exception globals, or 0
#
# The reference is weak, so that the library does not need a C++ runtime.
    .weak __cxa_get_globals
    .section ".toc", "aw", @progbits
    .p2align 3
.Lhsw_cxa:
    .quad __cxa_get_globals
    HSW_ENTRY hsw_asm_cxa_globals
.L.hsw_asm_cxa_globals:
    .cfi_startproc
    addis 12, 2, .Lhsw_cxa@toc@ha
    ld 12, .Lhsw_cxa@toc@l(12)
    cmpdi 12, 0
    li 3, 0
    beqlr
    mflr 0
    std 0, 16(1)
    stdu 1, -112(1)
    .cfi_def_cfa_offset 112
    .cfi_offset 65, 16
    std 2, 40(1)
    HSW_CALL 12
    addi 1, 1, 112
    .cfi_def_cfa_offset 0
    ld 0, 16(1)
    mtlr 0
    .cfi_restore 65
    blr
    .cfi_endproc
    .size hsw_asm_cxa_globals, . - .L.hsw_asm_cxa_globals
