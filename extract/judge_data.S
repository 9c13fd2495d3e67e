/* judge_data.S - the weights of judge.c, made by scripts/train_blocks. */
    .section .rodata
    .balign 64
    .globl kj_judge_data
kj_judge_data:
    .incbin "extract/judge.f32"
    .section .note.GNU-stack,"",@progbits
