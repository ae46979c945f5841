# The stack switch for x86_64, System V ABI, in Intel syntax (what
# `global_asm!` expects). `src/machine/arch/x86_64.rs` holds the drawings and
# must be kept in step with the offsets here.
#
# Everything is local to the object except the entries named `hsw_asm_*`.

# Copies \len bytes, 8 more than a multiple of 16, from \from to \to. These are three registers,
# which it changes; the memory does not overlap. Fewer than 72 bytes are copied at \few, which
# also handles a \len of 0. Uses rdx and xmm0 to xmm3. \piece loads 16 bytes.
#
# Slices are of such lengths because a save area lies 24 bytes below a 16-byte
# boundary: behind its first word, the stack is copied in pieces that are aligned there.
#
# The bytes next to the stack pointer were pushed as words an instant ago, and a wider
# load would wait until all of these stores have left the store buffer. So on the way
# out they are loaded as words. For the same reason bytes that go out in pieces of some size
# come in again in the same pieces.
.macro HSW_COPY piece few from to len
    cmp \len, 72
    jb \few
    HSW_HEAD \piece, \from, \to,
    # From here on \from and \to are the upper ends, and \len counts up to 0.
    add \from, \len
    add \to, \len
    neg \len
    add \len, 72 + 64
    jg 2f
1:
    movups xmm0, [\from + \len - 64]
    movups xmm1, [\from + \len - 48]
    movups xmm2, [\from + \len - 32]
    movups xmm3, [\from + \len - 16]
    movups [\to + \len - 64], xmm0
    movups [\to + \len - 48], xmm1
    movups [\to + \len - 32], xmm2
    movups [\to + \len - 16], xmm3
    add \len, 64
    jle 1b
2:
    sub \len, 64
    jz 4f
3:
    movups xmm0, [\from + \len]
    movups [\to + \len], xmm0
    add \len, 16
    jnz 3b
4:
.endm

# The first 72 bytes. \v: `v`, where the upper halves of the registers are in use.
.macro HSW_HEAD piece from to v
    mov rdx, [\from]
    mov [\to], rdx
    \piece xmm0, \from, 8
    \piece xmm1, \from, 24
    \piece xmm2, \from, 40
    \piece xmm3, \from, 56
    \v\()movups [\to + 8], xmm0
    \v\()movups [\to + 24], xmm1
    \v\()movups [\to + 40], xmm2
    \v\()movups [\to + 56], xmm3
.endm

# What follows the first 72 of \len bytes, in pieces of up to 32 bytes. Changes the registers as
# HSW_COPY does.
.macro HSW_WIDE from to len
    add \from, \len
    add \to, \len
    neg \len
    add \len, 72
    test \len, 16
    jz 1f
    vmovups xmm0, [\from + \len]
    vmovups [\to + \len], xmm0
    add \len, 16
1:
    test \len, 32
    jz 2f
    vmovups ymm0, [\from + \len]
    vmovups [\to + \len], ymm0
    add \len, 32
2:
    test \len, 64
    jz 3f
    vmovups ymm0, [\from + \len]
    vmovups ymm1, [\from + \len + 32]
    vmovups [\to + \len], ymm0
    vmovups [\to + \len + 32], ymm1
    add \len, 64
3:
    test \len, \len
    jz 5f
4:
    vmovups ymm0, [\from + \len]
    vmovups ymm1, [\from + \len + 32]
    vmovups ymm2, [\from + \len + 64]
    vmovups ymm3, [\from + \len + 96]
    vmovups [\to + \len], ymm0
    vmovups [\to + \len + 32], ymm1
    vmovups [\to + \len + 64], ymm2
    vmovups [\to + \len + 96], ymm3
    sub \len, -128
    jnz 4b
5:
.endm

# 16 bytes that were stored as such, and as two words.
.macro HSW_WHOLE register from offset
    movups \register, [\from + \offset]
.endm
.macro HSW_WHOLE_V register from offset
    vmovups \register, [\from + \offset]
.endm
.macro HSW_WORDS register from offset
    movq \register, qword ptr [\from + \offset]
    movhps \register, qword ptr [\from + \offset + 8]
.endm

# Goes on with the tasklet whose save area is at rsp. Each place has a jump of its own: it is
# predicted by its own history. Not `ret`: no call was made, so the return-address predictor has no
# entry for it.
.macro HSW_GO_ON
    pop rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    pop rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    pop rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    jmp rcx
.endm

# The length from which on .Lhsw_wide copies what goes out: all ones, or what `arch` has set where
# the processor and the system have 32-byte registers.
    .data
    .p2align 3
    .globl hsw_asm_wide
    .hidden hsw_asm_wide
    .type hsw_asm_wide, @object
    .size hsw_asm_wide, 8
hsw_asm_wide:
    .quad -1

# hsw_asm_transfer(op = rdi, arg = rsi), entered by a jump with the return address
# pushed, with a convention of its own: only rbx, rbp and rsp survive. `arch::transfer` tells the
# compiler so, and the registers that the callers do not use need no room in a slice.
#
# Saves rbp and rbx, hands the stack pointer of that save area to `op(arg, sp)`,
# and goes on with the save area whose stack pointer `op` returns: the same one
# (nothing happened) or another tasklet's, or one that an exchange of slices
# brings in. So the policy runs *between* save and
# restore, with the exact live size of the leaving stack known, and its own
# frame is never part of a slice.
    .text
    .p2align 5
    .globl hsw_asm_transfer
    .hidden hsw_asm_transfer
    .type hsw_asm_transfer, @function
hsw_asm_transfer:
    .cfi_startproc
    .cfi_undefined r12
    .cfi_undefined r13
    .cfi_undefined r14
    .cfi_undefined r15
    push rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    push rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    mov rax, rdi
    mov rdi, rsi
    mov rsi, rsp
    # The call wants rsp on a 16-byte boundary; the pad lies below the save
    # area, so it is not part of the slice.
    sub rsp, 8
    .cfi_adjust_cfa_offset 8
    call rax
    # A multiple of 4 is a save area in place, anything else an exchange.
    test al, 3
    jnz .Lhsw_exchange
    mov rsp, rax
    .cfi_adjust_cfa_offset -8
.Lhsw_resume:
    HSW_GO_ON

    # The next tasklet's bytes are not in place, and the window that they belong to
    # is often the one that this code runs on: so there is no stack to call on. The stack
    # pointer is the leaving tasklet's while its bytes go out, and then below those
    # that come in: there is room for a signal handler in either place.
    #
    # If `op` ended in `arch::exchange`, the exchange is in registers, and rax is
    # 3 more than the save area. Else it is in memory, and rax is 1 more than its address.
.Lhsw_exchange:
    # From here on there is no caller to unwind to.
    .cfi_def_cfa rsp, 8
    .cfi_undefined rip
    .cfi_undefined rbp
    .cfi_undefined rbx
    # Two bits were tested before the jump here, and one of them is set, or both: the parity flag
    # tells which.
    jp .Lhsw_registers
    mov r8, [rax - 1]
    mov r9, [rax + 7]
    mov rdi, [rax + 15]
    mov rcx, [rax + 23]
    mov rsi, [rax + 31]
    mov rax, [rax + 39]
    mov r10, rcx
    sub r10, r9
    sub rcx, rsi
    add rax, 3
.Lhsw_registers:
    cmp rcx, [rip + hsw_asm_wide]
    jae .Lhsw_wide
    HSW_COPY HSW_WORDS, .Lhsw_few_out, rsi, rdi, rcx
.Lhsw_out:
    mov rsp, r9
    HSW_COPY HSW_WHOLE, .Lhsw_few_in, r8, r9, r10
.Lhsw_in:
    lea rsp, [rax - 3]
    .cfi_def_cfa rsp, 24
    .cfi_offset rip, -8
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    HSW_GO_ON

    # As above, in pieces of 32 bytes. The ends of a window lie on such boundaries; those of a
    # slice do not, and a piece that crosses the end of a cache line takes twice as long to store.
    # That is what counts where there are many.
.Lhsw_wide:
    .cfi_def_cfa rsp, 8
    .cfi_undefined rip
    .cfi_undefined rbp
    .cfi_undefined rbx
    HSW_HEAD HSW_WORDS, rsi, rdi,
    cmp rcx, 640
    jae .Lhsw_aligned
    HSW_WIDE rsi, rdi, rcx
.Lhsw_wide_in:
    mov rsp, r9
    # The compilers expect the upper halves of the registers to be clear, or all that follows is
    # slow.
    cmp r10, 72
    jb .Lhsw_clear
    HSW_HEAD HSW_WHOLE_V, r8, r9, v
    HSW_WIDE r8, r9, r10
    vzeroupper
    jmp .Lhsw_in
.Lhsw_clear:
    vzeroupper
    jmp .Lhsw_few_in

    # What lies between two pieces of any alignment, behind the head and at the end, is stored in
    # pieces that are aligned in the slice.
.Lhsw_aligned:
    vmovups ymm4, [rsi + 72]
    vmovups ymm5, [rsi + rcx - 32]
    vmovups [rdi + 72], ymm4
    lea rdx, [rdi + rcx - 32]
    lea r11, [rdi + 72 + 32]
    and r11, -32
    sub rsi, rdi
    # r11 goes up to rdx; what is at r11 in the slice is at r11 + rsi in the window.
    lea rdi, [rdx - 96]
6:
    vmovups ymm0, [r11 + rsi]
    vmovups ymm1, [r11 + rsi + 32]
    vmovups ymm2, [r11 + rsi + 64]
    vmovups ymm3, [r11 + rsi + 96]
    vmovaps [r11], ymm0
    vmovaps [r11 + 32], ymm1
    vmovaps [r11 + 64], ymm2
    vmovaps [r11 + 96], ymm3
    sub r11, -128
    cmp r11, rdi
    jbe 6b
    cmp r11, rdx
    jae 8f
7:
    vmovups ymm0, [r11 + rsi]
    vmovaps [r11], ymm0
    add r11, 32
    cmp r11, rdx
    jb 7b
8:
    vmovups [rdx], ymm5
    jmp .Lhsw_wide_in

.Lhsw_few_out:
    .cfi_def_cfa rsp, 8
    .cfi_undefined rip
    .cfi_undefined rbp
    .cfi_undefined rbx
    # As a rule there are no bytes: the frames of a parked tasklet are larger than that. The
    # instruction takes its operands in these registers, and does nothing for a count of 0.
    rep movsb
    jmp .Lhsw_out
.Lhsw_few_in:
    # The bytes of a newborn, or none.
    test r10, r10
    jz .Lhsw_in
5:
    mov rdx, [r8 + r10 - 8]
    mov [r9 + r10 - 8], rdx
    sub r10, 8
    jnz 5b
    jmp .Lhsw_in
    .cfi_endproc
    .size hsw_asm_transfer, . - hsw_asm_transfer

# hsw_asm_swap(save = rdi, to = rsi), entered as hsw_asm_transfer
#
# Stores the address of the save area at `save` and goes on with the one at `to`,
# which is in place: the switch when nothing is left to decide.
    .p2align 5
    .globl hsw_asm_swap
    .hidden hsw_asm_swap
    .type hsw_asm_swap, @function
hsw_asm_swap:
    .cfi_startproc
    .cfi_undefined r12
    .cfi_undefined r13
    .cfi_undefined r14
    .cfi_undefined r15
    push rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    push rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    mov [rdi], rsp
    mov rsp, rsi
    HSW_GO_ON
    .cfi_endproc
    .size hsw_asm_swap, . - hsw_asm_swap

# hsw_asm_leave(to = rdi), does not return
#
# Goes on with what an `op` might have returned, without saving anything: the end of a
# tasklet.
    .p2align 4
    .globl hsw_asm_leave
    .hidden hsw_asm_leave
    .type hsw_asm_leave, @function
hsw_asm_leave:
    .cfi_startproc
    .cfi_undefined rip
    mov rax, rdi
    test al, 3
    jnz .Lhsw_exchange
    mov rsp, rax
    .cfi_def_cfa rsp, 24
    .cfi_offset rip, -8
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    jmp .Lhsw_resume
    .cfi_endproc
    .size hsw_asm_leave, . - hsw_asm_leave

# hsw_asm_start: where a newborn's save area "returns" to.
#
# rbp = the address at which the address of entry(task, body) lies, rbx = task. rsp is on a 16-byte
# boundary and points at the body. `entry` returns what an `op` might, and with that the tasklet is
# left for good. It returns, so that the return-address predictor stays in step.
#
# A return address belongs to the instruction before it: unwinders look up
# address - 1, which must fall into this function. So it begins with a nop, and newborns begin
# behind it.
    .p2align 4
    .globl hsw_asm_start
    .hidden hsw_asm_start
    .type hsw_asm_start, @function
hsw_asm_start:
    .cfi_startproc
    .cfi_undefined rip
    .cfi_undefined rbp
    nop
    mov rax, [rbp]
    # End of the frame pointer chain.
    xor ebp, ebp
    mov rdi, rbx
    mov rsi, rsp
    call rax
    mov rdi, rax
    jmp hsw_asm_leave
    .cfi_endproc
    .size hsw_asm_start, . - hsw_asm_start

# hsw_asm_call_on(top = rdi, f = rsi, arg = rdx)
#
# An ordinary call of `f(arg)` on another stack. The frame pointer chain and the
# CFI lead back through it, so that backtraces and unwinding cross it. A signal
# frame to debuggers: gdb takes any other frame that lies higher than its caller
# for damage.
    .p2align 4
    .globl hsw_asm_call_on
    .hidden hsw_asm_call_on
    .type hsw_asm_call_on, @function
hsw_asm_call_on:
    .cfi_startproc
    .cfi_signal_frame
    push rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov rbp, rsp
    .cfi_def_cfa_register rbp
    mov rsp, rdi
    mov rdi, rdx
    call rsi
    mov rsp, rbp
    pop rbp
    .cfi_def_cfa rsp, 8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size hsw_asm_call_on, . - hsw_asm_call_on

# hsw_asm_walk(sp = rdi, f = rsi, a = rdx, b = rcx)
#
# Calls `f(a, b)`, and the CFI says that the tasklet parked at `sp` did: rbx is
# its save area, in which rbx, rbp and rip lie as they do in our own frame, 24
# bytes below the CFA. An unwinder that starts in `f` walks from here into its
# frames. `f` returns, and returns to our caller; it must not unwind.
    .p2align 4
    .globl hsw_asm_walk
    .hidden hsw_asm_walk
    .type hsw_asm_walk, @function
hsw_asm_walk:
    .cfi_startproc
    push rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    push rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    sub rsp, 8
    .cfi_adjust_cfa_offset 8
    mov rax, rsi
    mov rbx, rdi
    mov rdi, rdx
    mov rsi, rcx
    .cfi_remember_state
    .cfi_def_cfa rbx, 24
    .cfi_undefined r12
    .cfi_undefined r13
    .cfi_undefined r14
    .cfi_undefined r15
    call rax
    # From here on without `adjust`: assemblers differ in whether the offset that
    # it counts on comes back with the state.
    .cfi_restore_state
    add rsp, 8
    .cfi_def_cfa_offset 24
    pop rbx
    .cfi_def_cfa_offset 16
    .cfi_restore rbx
    pop rbp
    .cfi_def_cfa_offset 8
    .cfi_restore rbp
    ret
    .cfi_endproc
    .size hsw_asm_walk, . - hsw_asm_walk

# hsw_asm_cxa_globals() -> address of this thread's C++ exception globals, or 0
#
# The reference is weak, so that the library does not need a C++ runtime.
    .weak __cxa_get_globals
    .p2align 4
    .globl hsw_asm_cxa_globals
    .hidden hsw_asm_cxa_globals
    .type hsw_asm_cxa_globals, @function
hsw_asm_cxa_globals:
    .cfi_startproc
    mov rax, qword ptr [rip + __cxa_get_globals@GOTPCREL]
    test rax, rax
    jz 1f
    jmp rax
1:
    ret
    .cfi_endproc
    .size hsw_asm_cxa_globals, . - hsw_asm_cxa_globals
