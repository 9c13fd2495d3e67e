/* embedded.S - files of this folder as bytes in the program. */
    .section .rodata
    .global kj_ledger_schema
kj_ledger_schema:
    .incbin "manifests/schema.sql"
    .byte 0
    .global kj_report_css
kj_report_css:
    .incbin "manifests/report.css"
    .byte 0
    .section .note.GNU-stack, "", @progbits
