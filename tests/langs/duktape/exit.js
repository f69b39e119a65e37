throw new Error("the only way to a non-zero exit code");
