# hsw_test_registers(call = r3, args = r4, pattern = r5, found = r6)
#
# Fills every non-volatile register from `pattern`, calls
# `call(args[0], args[1])`, and writes what the registers then hold to `found`. Order, in doublewords: r14-r31,
# f14-f31, v20-v31 (two each), CR, VRSAVE. Both arrays are 16-byte aligned.
    .globl hsw_test_registers
    .type hsw_test_registers, @function
    .section ".opd", "aw", @progbits
    .p2align 3
hsw_test_registers:
    .quad .L.hsw_test_registers, .TOC.@tocbase, 0
    .text
    .p2align 4
.L.hsw_test_registers:
    mflr 0
    mfcr 12
    std 0, 16(1)
    std 12, 8(1)
    stdu 1, -640(1)
    std 14, 112(1)
    std 15, 120(1)
    std 16, 128(1)
    std 17, 136(1)
    std 18, 144(1)
    std 19, 152(1)
    std 20, 160(1)
    std 21, 168(1)
    std 22, 176(1)
    std 23, 184(1)
    std 24, 192(1)
    std 25, 200(1)
    std 26, 208(1)
    std 27, 216(1)
    std 28, 224(1)
    std 29, 232(1)
    std 30, 240(1)
    std 31, 248(1)
    stfd 14, 256(1)
    stfd 15, 264(1)
    stfd 16, 272(1)
    stfd 17, 280(1)
    stfd 18, 288(1)
    stfd 19, 296(1)
    stfd 20, 304(1)
    stfd 21, 312(1)
    stfd 22, 320(1)
    stfd 23, 328(1)
    stfd 24, 336(1)
    stfd 25, 344(1)
    stfd 26, 352(1)
    stfd 27, 360(1)
    stfd 28, 368(1)
    stfd 29, 376(1)
    stfd 30, 384(1)
    stfd 31, 392(1)
    li 0, 400
    stvx 20, 1, 0
    li 0, 416
    stvx 21, 1, 0
    li 0, 432
    stvx 22, 1, 0
    li 0, 448
    stvx 23, 1, 0
    li 0, 464
    stvx 24, 1, 0
    li 0, 480
    stvx 25, 1, 0
    li 0, 496
    stvx 26, 1, 0
    li 0, 512
    stvx 27, 1, 0
    li 0, 528
    stvx 28, 1, 0
    li 0, 544
    stvx 29, 1, 0
    li 0, 560
    stvx 30, 1, 0
    li 0, 576
    stvx 31, 1, 0
    std 6, 592(1)
    mfspr 0, 256
    std 0, 600(1)
    std 2, 40(1)
    mr 12, 3
    ld 3, 0(4)
    ld 4, 8(4)
    lfd 14, 144(5)
    lfd 15, 152(5)
    lfd 16, 160(5)
    lfd 17, 168(5)
    lfd 18, 176(5)
    lfd 19, 184(5)
    lfd 20, 192(5)
    lfd 21, 200(5)
    lfd 22, 208(5)
    lfd 23, 216(5)
    lfd 24, 224(5)
    lfd 25, 232(5)
    lfd 26, 240(5)
    lfd 27, 248(5)
    lfd 28, 256(5)
    lfd 29, 264(5)
    lfd 30, 272(5)
    lfd 31, 280(5)
    li 0, 288
    lvx 20, 5, 0
    li 0, 304
    lvx 21, 5, 0
    li 0, 320
    lvx 22, 5, 0
    li 0, 336
    lvx 23, 5, 0
    li 0, 352
    lvx 24, 5, 0
    li 0, 368
    lvx 25, 5, 0
    li 0, 384
    lvx 26, 5, 0
    li 0, 400
    lvx 27, 5, 0
    li 0, 416
    lvx 28, 5, 0
    li 0, 432
    lvx 29, 5, 0
    li 0, 448
    lvx 30, 5, 0
    li 0, 464
    lvx 31, 5, 0
    ld 0, 480(5)
    mtcrf 0x38, 0
    ld 0, 488(5)
    mtspr 256, 0
    ld 14, 0(5)
    ld 15, 8(5)
    ld 16, 16(5)
    ld 17, 24(5)
    ld 18, 32(5)
    ld 19, 40(5)
    ld 20, 48(5)
    ld 21, 56(5)
    ld 22, 64(5)
    ld 23, 72(5)
    ld 24, 80(5)
    ld 25, 88(5)
    ld 26, 96(5)
    ld 27, 104(5)
    ld 28, 112(5)
    ld 29, 120(5)
    ld 30, 128(5)
    ld 31, 136(5)
    ld 0, 0(12)
    mtctr 0
    ld 2, 8(12)
    ld 11, 16(12)
    bctrl
    ld 2, 40(1)
    ld 6, 592(1)
    std 14, 0(6)
    std 15, 8(6)
    std 16, 16(6)
    std 17, 24(6)
    std 18, 32(6)
    std 19, 40(6)
    std 20, 48(6)
    std 21, 56(6)
    std 22, 64(6)
    std 23, 72(6)
    std 24, 80(6)
    std 25, 88(6)
    std 26, 96(6)
    std 27, 104(6)
    std 28, 112(6)
    std 29, 120(6)
    std 30, 128(6)
    std 31, 136(6)
    stfd 14, 144(6)
    stfd 15, 152(6)
    stfd 16, 160(6)
    stfd 17, 168(6)
    stfd 18, 176(6)
    stfd 19, 184(6)
    stfd 20, 192(6)
    stfd 21, 200(6)
    stfd 22, 208(6)
    stfd 23, 216(6)
    stfd 24, 224(6)
    stfd 25, 232(6)
    stfd 26, 240(6)
    stfd 27, 248(6)
    stfd 28, 256(6)
    stfd 29, 264(6)
    stfd 30, 272(6)
    stfd 31, 280(6)
    li 0, 288
    stvx 20, 6, 0
    li 0, 304
    stvx 21, 6, 0
    li 0, 320
    stvx 22, 6, 0
    li 0, 336
    stvx 23, 6, 0
    li 0, 352
    stvx 24, 6, 0
    li 0, 368
    stvx 25, 6, 0
    li 0, 384
    stvx 26, 6, 0
    li 0, 400
    stvx 27, 6, 0
    li 0, 416
    stvx 28, 6, 0
    li 0, 432
    stvx 29, 6, 0
    li 0, 448
    stvx 30, 6, 0
    li 0, 464
    stvx 31, 6, 0
    mfcr 0
    std 0, 480(6)
    mfspr 0, 256
    std 0, 488(6)
    ld 0, 600(1)
    mtspr 256, 0
    li 0, 400
    lvx 20, 1, 0
    li 0, 416
    lvx 21, 1, 0
    li 0, 432
    lvx 22, 1, 0
    li 0, 448
    lvx 23, 1, 0
    li 0, 464
    lvx 24, 1, 0
    li 0, 480
    lvx 25, 1, 0
    li 0, 496
    lvx 26, 1, 0
    li 0, 512
    lvx 27, 1, 0
    li 0, 528
    lvx 28, 1, 0
    li 0, 544
    lvx 29, 1, 0
    li 0, 560
    lvx 30, 1, 0
    li 0, 576
    lvx 31, 1, 0
    lfd 14, 256(1)
    lfd 15, 264(1)
    lfd 16, 272(1)
    lfd 17, 280(1)
    lfd 18, 288(1)
    lfd 19, 296(1)
    lfd 20, 304(1)
    lfd 21, 312(1)
    lfd 22, 320(1)
    lfd 23, 328(1)
    lfd 24, 336(1)
    lfd 25, 344(1)
    lfd 26, 352(1)
    lfd 27, 360(1)
    lfd 28, 368(1)
    lfd 29, 376(1)
    lfd 30, 384(1)
    lfd 31, 392(1)
    ld 14, 112(1)
    ld 15, 120(1)
    ld 16, 128(1)
    ld 17, 136(1)
    ld 18, 144(1)
    ld 19, 152(1)
    ld 20, 160(1)
    ld 21, 168(1)
    ld 22, 176(1)
    ld 23, 184(1)
    ld 24, 192(1)
    ld 25, 200(1)
    ld 26, 208(1)
    ld 27, 216(1)
    ld 28, 224(1)
    ld 29, 232(1)
    ld 30, 240(1)
    ld 31, 248(1)
    addi 1, 1, 640
    ld 0, 16(1)
    ld 12, 8(1)
    mtlr 0
    mtcrf 0x38, 12
    blr
    .size hsw_test_registers, . - .L.hsw_test_registers
