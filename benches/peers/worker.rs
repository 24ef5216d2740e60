//! The protocol by which the suite's driver runs a candidate beside others: commands in JSON, one a line, on standard input,
//! and one line on standard output in answer to each. Arrays are raw files in a folder that the command names.

use super::functions::job;
use super::job::Warm;
use serde_json::{Value, json};
use std::error::Error;
use std::fs;
use std::io::{Write, stdin, stdout};
use tensorc::Tensor;
use tensorc::dtype::{F32, I32};

/// Answers commands until there are no more. What fails is the answer, so that the other workloads go on.
pub fn serve() -> Result<(), Box<dyn Error>> {
    let mut warm = None;
    for line in stdin().lines() {
        let reply = answer(&serde_json::from_str(&line?)?, &mut warm);
        let reply = reply.unwrap_or_else(|e| json!({"error": e.to_string()}));
        writeln!(stdout(), "{reply}")?;
        stdout().flush()?;
    }
    Ok(())
}

fn answer(command: &Value, warm: &mut Option<Warm>) -> Result<Value, Box<dyn Error>> {
    let text = |key: &str| command[key].as_str().ok_or(format!("a command without `{key}`: {command}"));
    match text("cmd")? {
        "setup" => {
            *warm = None;
            // Without a folder it only asks whether the program is there.
            let (function, dir) = (text("fn")?, text("dir")?);
            let job = if dir.is_empty() { None } else { job(function, &inputs(dir)?)? };
            let Some(job) = job else { return Ok(json!({"skip": true})) };
            let mut outputs = 0;
            let ready = Warm::up(job, |results| {
                outputs = results.len();
                write(dir, &results)
            })?;
            let reply = json!({"first_call_ms": ready.first_ms, "second_call_ms": ready.second_ms, "outputs": outputs});
            *warm = Some(ready);
            Ok(reply)
        }
        "run" => {
            let warm = warm.as_mut().ok_or("`run` before `setup`")?;
            let seconds = command["seconds"].as_f64().ok_or("`run` without `seconds`")?;
            Ok(json!({"samples_us": warm.samples(seconds)?}))
        }
        "drop" => {
            *warm = None;
            Ok(json!({}))
        }
        "limits" => Ok(json!({})),
        other => Err(format!("there is no command `{other}`").into()),
    }
}

fn inputs(dir: &str) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let meta: Value = serde_json::from_slice(&fs::read(format!("{dir}/meta.json"))?)?;
    let described: Vec<(String, Vec<usize>)> = serde_json::from_value(meta["inputs"].clone())?;
    let read = |(i, (dtype, shape)): (usize, (String, Vec<usize>))| {
        let dtype = match dtype.as_str() {
            "float32" => F32,
            "int32" => I32,
            other => return Err(format!("an input of {other}").into()),
        };
        Ok(Tensor::from_bytes(dtype, &shape, &fs::read(format!("{dir}/in{i}.bin"))?)?)
    };
    described.into_iter().enumerate().map(read).collect()
}

fn write(dir: &str, results: &[Tensor]) -> Result<(), Box<dyn Error>> {
    for (i, t) in results.iter().enumerate() {
        fs::write(format!("{dir}/out{i}.bin"), t.to(F32)?.to_bytes()?)?;
    }
    Ok(())
}
