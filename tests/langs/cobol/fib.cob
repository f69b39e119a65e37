       IDENTIFICATION DIVISION.
       PROGRAM-ID. FIB.
       DATA DIVISION.
       WORKING-STORAGE SECTION.
       01  N               PIC 99.
       01  THIS-FIB        PIC 999 VALUE 0.
       01  NEXT-FIB        PIC 999 VALUE 1.
       01  SUM-FIB         PIC 999.
       01  N-TEXT          PIC Z9.
       01  FIB-TEXT        PIC ZZ9.
       PROCEDURE DIVISION.
           PERFORM VARYING N FROM 0 BY 1 UNTIL N > 10
               MOVE N TO N-TEXT
               MOVE THIS-FIB TO FIB-TEXT
               DISPLAY "fib(" FUNCTION TRIM(N-TEXT) ") = "
                   FUNCTION TRIM(FIB-TEXT)
               ADD THIS-FIB NEXT-FIB GIVING SUM-FIB
               MOVE NEXT-FIB TO THIS-FIB
               MOVE SUM-FIB TO NEXT-FIB
           END-PERFORM.
           STOP RUN.
