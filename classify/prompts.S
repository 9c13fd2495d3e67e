/* prompts.S - the texts that kijil model annotate asks with. */
    .section .rodata
    .global kj_prompt_en, kj_prompt_en_size, kj_prompt_ko, kj_prompt_ko_size
kj_prompt_en:
    .incbin "classify/prompt_en.txt"
1:
    .balign 8
kj_prompt_en_size:
    .quad 1b - kj_prompt_en
kj_prompt_ko:
    .incbin "classify/prompt_ko.txt"
2:
    .balign 8
kj_prompt_ko_size:
    .quad 2b - kj_prompt_ko
    .section .note.GNU-stack,"",@progbits
