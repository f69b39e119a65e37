       IDENTIFICATION DIVISION.
       PROGRAM-ID. READDATA.
       ENVIRONMENT DIVISION.
       INPUT-OUTPUT SECTION.
       FILE-CONTROL.
           SELECT DATA-FILE ASSIGN TO "data.txt"
               ORGANIZATION IS LINE SEQUENTIAL.
       DATA DIVISION.
       FILE SECTION.
       FD  DATA-FILE.
       01  DATA-LINE       PIC X(200).
       WORKING-STORAGE SECTION.
       01  AT-END-OF-FILE  PIC X VALUE "N".
       PROCEDURE DIVISION.
           OPEN INPUT DATA-FILE.
           PERFORM UNTIL AT-END-OF-FILE = "Y"
               READ DATA-FILE
                   AT END
                       MOVE "Y" TO AT-END-OF-FILE
                   NOT AT END
                       DISPLAY FUNCTION TRIM(DATA-LINE TRAILING)
               END-READ
           END-PERFORM.
           CLOSE DATA-FILE.
           STOP RUN.
