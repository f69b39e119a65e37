const n: number = ;
