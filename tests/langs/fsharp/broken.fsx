printfn ("never printed"
