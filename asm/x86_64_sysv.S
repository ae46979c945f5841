# The stack switch for x86_64, System V ABI, in Intel syntax (what
# `global_asm!` expects). `src/arch/x86_64.rs` holds the drawings and
# must be kept in step with the offsets here.
#
# Everything is local to the object except the entries named `hsw_asm_*`.

# Copies rcx bytes, a multiple of 8, from rsi to rdi; they do not overlap. Uses rax, r8 to
# r11 and xmm0 to xmm3.
#
# The 64 bytes next to the stack pointer go word by word: they were pushed an instant
# ago, and a wider load would wait until all of these stores have left the store
# buffer. For the same reason nothing is copied twice: what goes out in pieces of some
# size comes in again in the same pieces.
.macro HSW_COPY
    lea r11, [rip + 6f]
    cmp rcx, 64
    jb .Lhsw_few
    mov rax, [rsi]
    mov r8, [rsi + 8]
    mov r9, [rsi + 16]
    mov r10, [rsi + 24]
    mov [rdi], rax
    mov [rdi + 8], r8
    mov [rdi + 16], r9
    mov [rdi + 24], r10
    mov rax, [rsi + 32]
    mov r8, [rsi + 40]
    mov r9, [rsi + 48]
    mov r10, [rsi + 56]
    mov [rdi + 32], rax
    mov [rdi + 40], r8
    mov [rdi + 48], r9
    mov [rdi + 56], r10
    sub rcx, 64
    add rsi, 64
    add rdi, 64
    test cl, 8
    jz 1f
    mov rax, [rsi + rcx - 8]
    mov [rdi + rcx - 8], rax
    sub rcx, 8
1:
    sub rcx, 64
    jb 3f
2:
    movups xmm0, [rsi]
    movups xmm1, [rsi + 16]
    movups xmm2, [rsi + 32]
    movups xmm3, [rsi + 48]
    movups [rdi], xmm0
    movups [rdi + 16], xmm1
    movups [rdi + 32], xmm2
    movups [rdi + 48], xmm3
    add rsi, 64
    add rdi, 64
    sub rcx, 64
    jae 2b
3:
    add rcx, 64
    jz 6f
5:
    movups xmm0, [rsi + rcx - 16]
    movups [rdi + rcx - 16], xmm0
    sub rcx, 16
    jnz 5b
6:
.endm

# hsw_asm_transfer(op = rdi, arg = rsi), entered by a jump with the return address
# pushed, with a convention of its own: only rbx, rbp and rsp survive. `arch::transfer` tells the compiler so, and the
# registers that the callers do not use need no room in a slice.
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
    # An even answer is a save area in place, an odd one an `Exchange`.
    test al, 1
    jnz .Lhsw_exchange
    mov rsp, rax
    .cfi_adjust_cfa_offset -8
.Lhsw_resume:
    pop rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    pop rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    # Not `ret`: nobody called, so the return-address predictor has nothing
    # about this. An indirect jump is predicted by its own history.
    pop rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    jmp rcx

    # The next tasklet's bytes are not in place, and the window that they belong to
    # is often the one that we stand in: so there is no stack to call on. The stack
    # pointer is the leaving tasklet's while its bytes go out, and then below those
    # that come in: there is room for a signal handler in either place.
.Lhsw_exchange:
    # From here on there is no caller to unwind to.
    .cfi_def_cfa rsp, 8
    .cfi_undefined rip
    .cfi_undefined rbp
    .cfi_undefined rbx
    lea rdx, [rax - 1]
    mov rsi, [rdx]
    mov rdi, [rdx + 8]
    mov rcx, [rdx + 16]
    HSW_COPY
    mov rsi, [rdx + 24]
    mov rdi, [rdx + 32]
    mov rcx, [rdx + 40]
    mov rsp, rdi
    HSW_COPY
    mov rsp, [rdx + 48]
    .cfi_def_cfa rsp, 24
    .cfi_offset rip, -8
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    jmp .Lhsw_resume

    # Fewer than 64 bytes, or none.
.Lhsw_few:
    .cfi_def_cfa rsp, 8
    .cfi_undefined rip
    .cfi_undefined rbp
    .cfi_undefined rbx
    test rcx, rcx
    jz 2f
1:
    mov rax, [rsi + rcx - 8]
    mov [rdi + rcx - 8], rax
    sub rcx, 8
    jnz 1b
2:
    jmp r11
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
    .cfi_endproc
    .size hsw_asm_swap, . - hsw_asm_swap

# hsw_asm_leave(to = rdi), does not return
#
# Goes on with what `op` might have returned, without saving anything: how a
# tasklet ends.
    .p2align 4
    .globl hsw_asm_leave
    .hidden hsw_asm_leave
    .type hsw_asm_leave, @function
hsw_asm_leave:
    .cfi_startproc
    .cfi_undefined rip
    mov rax, rdi
    test al, 1
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
# rbp = entry(task, body), rbx = task. rsp is on a 16-byte boundary and points at
# the body. `entry` returns what `op` might, and with that the tasklet is left for good.
# It returns, so that the return-address predictor stays in step.
#
# A return address belongs to the instruction before it: unwinders look up
# address - 1, which must fall into this function. Hence the nop; newborns begin
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
    mov rax, rbp
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
