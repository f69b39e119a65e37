console.log("never printed"
