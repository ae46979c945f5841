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

# Loads or stores \count vectors, from v\first on. r14 to r20 are as HSW_INDICES makes them.
.macro HSW_VECTORS instruction first at count
    \instruction \first, 0, \at
    .if \count > 1
    \instruction \first + 1, 14, \at
    .endif
    .if \count > 2
    \instruction \first + 2, 15, \at
    \instruction \first + 3, 16, \at
    .endif
    .if \count > 4
    \instruction \first + 4, 17, \at
    \instruction \first + 5, 18, \at
    \instruction \first + 6, 19, \at
    \instruction \first + 7, 20, \at
    .endif
.endm
# Moves \count vectors from \from to \to, and both registers behind them.
.macro HSW_MOVE count from to none
    HSW_VECTORS lvx, 0, \from, \count
    HSW_VECTORS stvx, 0, \to, \count
    addi \from, \from, 16 * \count
    addi \to, \to, 16 * \count
.endm

# Moves \count vectors from \place to \to, and as many from \from to \place, and all three
# registers behind them.
.macro HSW_TRADE count place to from
    HSW_VECTORS lvx, 0, \place, \count
    HSW_VECTORS lvx, 8, \from, \count
    HSW_VECTORS stvx, 0, \to, \count
    HSW_VECTORS stvx, 8, \place, \count
    addi \place, \place, 16 * \count
    addi \to, \to, 16 * \count
    addi \from, \from, 16 * \count
.endm

# Does \move for \len bytes, a multiple of 16: eight vectors at a time, then by the bits of how many
# are left. Changes \len; uses r0, CTR, CR0 and CR7, and the vector registers of the moves.
#
# v0 to v19 are volatile, and nothing marks them in VRSAVE: Linux keeps all vector registers of a
# thread that uses any, whatever VRSAVE says.
.macro HSW_REPEAT len move a b c
    srdi 0, \len, 7
    srdi \len, \len, 4
    cmpdi 0, 0
    mtocrf 0x01, \len
    beq 2f
    mtctr 0
1:
    \move 8, \a, \b, \c
    bdnz 1b
2:
    bf 29, 3f
    \move 4, \a, \b, \c
3:
    bf 30, 4f
    \move 2, \a, \b, \c
4:
    bf 31, 5f
    \move 1, \a, \b, \c
5:
.endm

# r14 to r20 become 16, 32, ... 112, for indexed loads and stores.
.macro HSW_INDICES
    li 14, 16
    li 15, 32
    li 16, 48
    li 17, 64
    li 18, 80
    li 19, 96
    li 20, 112
.endm

# Stores r14-r31, f14-f31, v20-v31 and VRSAVE in the save area at \at. Uses r0; r14 to r20 are
# indices afterwards.
.macro HSW_STORE at
    std 14, 16(\at)
    std 15, 24(\at)
    std 16, 32(\at)
    std 17, 40(\at)
    std 18, 48(\at)
    std 19, 56(\at)
    std 20, 64(\at)
    std 21, 72(\at)
    std 22, 80(\at)
    std 23, 88(\at)
    std 24, 96(\at)
    std 25, 104(\at)
    std 26, 112(\at)
    std 27, 120(\at)
    std 28, 128(\at)
    std 29, 136(\at)
    std 30, 144(\at)
    std 31, 152(\at)
    stfd 14, 160(\at)
    stfd 15, 168(\at)
    stfd 16, 176(\at)
    stfd 17, 184(\at)
    stfd 18, 192(\at)
    stfd 19, 200(\at)
    stfd 20, 208(\at)
    stfd 21, 216(\at)
    stfd 22, 224(\at)
    stfd 23, 232(\at)
    stfd 24, 240(\at)
    stfd 25, 248(\at)
    stfd 26, 256(\at)
    stfd 27, 264(\at)
    stfd 28, 272(\at)
    stfd 29, 280(\at)
    stfd 30, 288(\at)
    stfd 31, 296(\at)
    mfspr 0, 256
    stw 0, 8(\at)
    HSW_INDICES
    addi 0, \at, 304
    stvx 20, 0, 0
    stvx 21, 14, 0
    stvx 22, 15, 0
    stvx 23, 16, 0
    stvx 24, 17, 0
    stvx 25, 18, 0
    stvx 26, 19, 0
    stvx 27, 20, 0
    addi 0, \at, 432
    stvx 28, 0, 0
    stvx 29, 14, 0
    stvx 30, 15, 0
    stvx 31, 16, 0
.endm

# Loads what HSW_STORE has stored at \at, given its indices. Uses r0 and \at.
.macro HSW_LOAD at
    lwz 0, 8(\at)
    mtspr 256, 0
    addi 0, \at, 304
    lvx 20, 0, 0
    lvx 21, 14, 0
    lvx 22, 15, 0
    lvx 23, 16, 0
    lvx 24, 17, 0
    lvx 25, 18, 0
    lvx 26, 19, 0
    lvx 27, 20, 0
    addi 0, \at, 432
    lvx 28, 0, 0
    lvx 29, 14, 0
    lvx 30, 15, 0
    lvx 31, 16, 0
    lfd 14, 160(\at)
    lfd 15, 168(\at)
    lfd 16, 176(\at)
    lfd 17, 184(\at)
    lfd 18, 192(\at)
    lfd 19, 200(\at)
    lfd 20, 208(\at)
    lfd 21, 216(\at)
    lfd 22, 224(\at)
    lfd 23, 232(\at)
    lfd 24, 240(\at)
    lfd 25, 248(\at)
    lfd 26, 256(\at)
    lfd 27, 264(\at)
    lfd 28, 272(\at)
    lfd 29, 280(\at)
    lfd 30, 288(\at)
    lfd 31, 296(\at)
    ld 14, 16(\at)
    ld 15, 24(\at)
    ld 16, 32(\at)
    ld 17, 40(\at)
    ld 18, 48(\at)
    ld 19, 56(\at)
    ld 20, 64(\at)
    ld 21, 72(\at)
    ld 22, 80(\at)
    ld 23, 88(\at)
    ld 24, 96(\at)
    ld 25, 104(\at)
    ld 26, 112(\at)
    ld 27, 120(\at)
    ld 28, 128(\at)
    ld 29, 136(\at)
    ld 30, 144(\at)
    ld 31, 152(\at)
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
    clrrdi 4, 3, 2
    mtocrf 0x01, 3
    HSW_INDICES
    ld 3, 0(4)
    ld 8, 8(4)
    ld 5, 16(4)
    ld 6, 24(4)
    # If our own save area is the lower end of what goes out, so is the next one of what comes in.
    # Otherwise both are told.
    addi 11, 1, 112
    mr 9, 8
    bt 30, 1f
    ld 11, 32(4)
    ld 9, 40(4)
1:
    subf 7, 11, 6
    HSW_REPEAT 7, HSW_MOVE, 11, 5, none
    cmpd 9, 8
    bne .Lhsw_whole
    # As after .Lhsw_trade, the save area that comes in is used where it is.
    addi 4, 8, 496
    addi 7, 3, 496
    mr 1, 4
    mr 8, 4
    subf 6, 4, 6
    HSW_REPEAT 6, HSW_MOVE, 7, 8, none
    b .Lhsw_arrive
.Lhsw_whole:
    mr 1, 8
    subf 6, 8, 6
    HSW_REPEAT 6, HSW_MOVE, 3, 8, none
    mr 1, 9
    .cfi_def_cfa 1, 496
    .cfi_offset 65, 16
    .cfi_offset 70, 8
    HSW_CFI_SAVED
    b .Lhsw_resume
    .cfi_endproc
    .size hsw_asm_transfer, . - .L.hsw_asm_transfer

# hsw_asm_transfer_late(arg = r3, op = r4)
#
# As hsw_asm_transfer, for an op after which the registers are still as the caller left them, and
# which does not look at the save area. Only then are they saved: at once in the slice, where the
# save area is among what goes out. What comes in is not put into the window first, either. That
# leaves a third less to copy.
    HSW_ENTRY hsw_asm_transfer_late
.L.hsw_asm_transfer_late:
    .cfi_startproc
    mflr 0
    mfcr 12
    std 0, 16(1)
    std 12, 8(1)
    # Room for the save area, and the frame of `op`.
    stdu 1, -608(1)
    .cfi_def_cfa_offset 608
    .cfi_offset 65, 16
    .cfi_offset 70, 8
    std 2, 40(1)
    # An op has no environment.
    ld 0, 0(4)
    ld 2, 8(4)
    mtctr 0
    addi 4, 1, 112
    bctrl
    ld 2, 40(1)
    mtocrf 0x01, 3
    addi 11, 1, 608
    bf 30, .Lhsw_no_trade
    .cfi_remember_state
    # From here on registers change, and what they were is not where the CFI could say: there is no
    # caller to unwind to.
    .cfi_undefined 65
    addi 4, 3, -3
    ld 3, 0(4)
    ld 12, 16(4)
    ld 6, 24(4)
    ld 4, 8(4)
.Lhsw_save:
    std 11, 0(12)
    HSW_STORE 12
    bt 30, .Lhsw_trade
    # Saved in place: the rest is as after hsw_asm_transfer's op.
    bt 31, .Lhsw_exchange
    mr 1, 3
    b .Lhsw_resume

    # What counts of the leaving tasklet is from r11 to r6, and goes to the slice at r12; the slice
    # of the next one is at r3, and its place from r4 to r6. r1 is below both as long as both count.
.Lhsw_trade:
    addi 5, 12, 496
    addi 7, 3, 496
    addi 4, 4, 496
    cmpld 4, 11
    beq .Lhsw_upper
    blt .Lhsw_more_in
    # More goes out: first the lower part.
    subf 10, 11, 4
    HSW_REPEAT 10, HSW_MOVE, 11, 5, none
    b .Lhsw_upper
.Lhsw_more_in:
    # More comes in: first the lower part, to below all that goes out.
    mr 1, 4
    mr 8, 4
    subf 10, 4, 11
    HSW_REPEAT 10, HSW_MOVE, 7, 8, none
.Lhsw_upper:
    # The upper parts, of the same length and at one place, change places.
    subf 6, 11, 6
    HSW_REPEAT 6, HSW_TRADE, 11, 5, 7
    mr 1, 4
.Lhsw_arrive:
    HSW_LOAD 3
    ld 0, 16(1)
    ld 12, 8(1)
    mtlr 0
    mtocrf 0x20, 12
    mtocrf 0x10, 12
    mtocrf 0x08, 12
    blr

.Lhsw_no_trade:
    .cfi_restore_state
    addi 12, 1, 112
    cmpd 3, 12
    bne .Lhsw_save
    # Nothing happened.
    mr 1, 11
    .cfi_def_cfa_offset 0
    ld 0, 16(1)
    mtlr 0
    .cfi_restore 65
    .cfi_restore 70
    blr
    .cfi_endproc
    .size hsw_asm_transfer_late, . - .L.hsw_asm_transfer_late

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
