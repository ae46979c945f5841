# hsw_test_registers(call = rdi, args = rsi, pattern = rdx, found = rcx)
#
# Fills every non-volatile register from `pattern`, calls
# `call(args[0], args[1])`, and writes what the registers then hold to `found`.
# Order: rbx, rbp, r12-r15.
    .text
    .globl hsw_test_registers
    .type hsw_test_registers, @function
hsw_test_registers:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rcx
    mov rax, rdi
    mov rdi, [rsi]
    mov rsi, [rsi + 8]
    mov rbx, [rdx]
    mov rbp, [rdx + 8]
    mov r12, [rdx + 16]
    mov r13, [rdx + 24]
    mov r14, [rdx + 32]
    mov r15, [rdx + 40]
    call rax
    pop rcx
    mov [rcx], rbx
    mov [rcx + 8], rbp
    mov [rcx + 16], r12
    mov [rcx + 24], r13
    mov [rcx + 32], r14
    mov [rcx + 40], r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
    .size hsw_test_registers, . - hsw_test_registers
