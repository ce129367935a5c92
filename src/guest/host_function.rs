//! The host's own functions as guests call them.
#![allow(unsafe_code)]

use super::context::{GuestState, HostCall, Suspended};
use super::fault::Fault;
use super::memory::GuestMemory;
use crate::host::call::{Ended, Settled, wasm_call};
use crate::host::owned::{Owned, host_data};
use crate::host::value::{MAX_PARAMS, MAX_RESULTS, wasm_value, wasm_value_type};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use std::sync::Arc;
use wasmtime::{AsContextMut as _, Caller, Error, FuncType, Linker, ValRaw, ValType};

/// A callback with its data.
#[derive(Clone, Copy)]
pub struct Callback {
    /// The host's own.
    pub data: *mut c_void,
    /// Frees `data`.
    pub drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    /// The function.
    pub call: unsafe extern "C" fn(
        data: *mut c_void,
        call: *mut wasm_call,
        args: *const wasm_value,
        results: *mut wasm_value,
    ) -> u32,
}

host_data!(Callback: AnyThread, "The header says: on all threads that have engines, and `drop` on any.");

type Results = [MaybeUninit<wasm_value>; MAX_RESULTS];

/// A function of the host.
pub struct HostFunction {
    /// Module name.
    pub module: String,
    /// Function name.
    pub name: String,
    /// Parameters.
    pub params: Vec<wasm_value_type>,
    /// Results.
    pub results: Arc<[wasm_value_type]>,
    /// The function may return pending.
    pub may_wait: bool,
    /// The host's callback.
    pub callback: Owned<Callback>,
}

impl HostFunction {
    /// The type that guests know.
    pub fn signature(&self) -> String {
        let text = |ty: &wasm_value_type| ty.val_type().to_string();
        crate::module::inspect::signature(self.params.iter().map(text), self.results.iter().map(text))
    }

    /// Adds the function to a linker. A function that may wait has another result, which its wrapper in the rewritten
    /// guest reads (`module::suspend_points`). 1: call again after the guest was suspended. 0: done.
    ///
    /// Dropping the last reference runs code of the host. So a caller with a lock keeps one: the linker may refuse.
    pub fn define(self: Arc<Self>, linker: &mut Linker<GuestState>) -> Result<(), Error> {
        let params = self.params.iter().map(|ty| ty.val_type());
        let results = self.results.iter().map(|ty| ty.val_type()).chain(self.may_wait.then_some(ValType::I32));
        let ty = FuncType::new(linker.engine(), params, results);
        let (module, name) = (self.module.clone(), self.name.clone());
        let function = self;
        if function.may_wait {
            // SAFETY: `call_waiting` reads as many arguments and writes as many results of the types in `ty` plus the
            // flag.
            unsafe {
                linker
                    .func_new_unchecked(&module, &name, ty, move |caller, values| function.call_waiting(caller, values))
            }?;
        } else {
            // SAFETY: `call` reads as many arguments and writes as many results of the types in `ty`.
            unsafe {
                linker.func_new_unchecked(&module, &name, ty, move |caller, values| function.call(caller, values))
            }?;
        }
        Ok(())
    }

    #[inline]
    fn call(&self, mut caller: Caller<'_, GuestState>, values: &mut [MaybeUninit<ValRaw>]) -> Result<(), Error> {
        let mut results = self.room();
        match self.invoke(&mut caller, values, &mut results)? {
            Ended::Done => self.write(values, &results),
            Ended::Failed(why) => return Err(self.fault(why).into()),
            Ended::Pending(_) => {
                let why = "it returned pending but was not registered as a function that may wait";
                return Err(self.fault(why.into()).into());
            }
        }
        Ok(())
    }

    fn call_waiting(
        &self,
        mut caller: Caller<'_, GuestState>,
        values: &mut [MaybeUninit<ValRaw>],
    ) -> Result<(), Error> {
        let mut results = self.room();
        let ended = match caller.data().context.host_call.take() {
            HostCall::None => self.invoke(&mut caller, values, &mut results)?,
            HostCall::Settled(Settled::Values(settled)) => {
                for (result, value) in results.iter_mut().zip(&settled) {
                    result.write(*value);
                }
                Ended::Done
            }
            HostCall::Settled(Settled::Continue(continuation)) => {
                let mut call = self.begin(&mut caller)?;
                let answer = continuation.run(&mut call, &mut results);
                call.ended(answer, "its continuation")
            }
            HostCall::Settled(Settled::Rejected(why) | Settled::RejectedAt(why, _)) => Ended::Failed(why),
            HostCall::Settled(Settled::Schema(_)) | HostCall::Waiting(_) => {
                Ended::Failed("its promise got a result of another kind".into())
            }
        };
        let flag = match ended {
            Ended::Done => 0,
            Ended::Failed(why) => return Err(self.fault(why).into()),
            Ended::Pending(waiting) => {
                let context = &caller.data().context;
                context.host_call.set(HostCall::Waiting(waiting));
                context.suspended.set(Some(Suspended::ForHost));
                caller.as_context_mut().set_epoch_deadline(0);
                1
            }
        };
        self.write(values, &results);
        values[self.results.len()] = MaybeUninit::new(ValRaw::i32(flag));
        Ok(())
    }

    /// Room for the results. The part that is read is zero.
    #[inline]
    fn room(&self) -> Results {
        let mut results = [MaybeUninit::uninit(); MAX_RESULTS];
        for result in &mut results[..self.results.len()] {
            result.write(wasm_value::ZERO);
        }
        results
    }

    /// Calls the host.
    fn invoke(
        &self,
        caller: &mut Caller<'_, GuestState>,
        values: &[MaybeUninit<ValRaw>],
        results: &mut Results,
    ) -> Result<Ended, Error> {
        let mut args = [MaybeUninit::<wasm_value>::uninit(); MAX_PARAMS];
        for ((arg, raw), ty) in args.iter_mut().zip(values).zip(&self.params) {
            // SAFETY: Wasmtime fills as many values as the function has parameters. Their members fit the types.
            let raw = unsafe { raw.assume_init_ref() };
            arg.write(match ty {
                wasm_value_type::I32 => wasm_value { i32: raw.get_i32() },
                wasm_value_type::I64 => wasm_value { i64: raw.get_i64() },
                wasm_value_type::F32 => wasm_value { f32: f32::from_bits(raw.get_f32()) },
                wasm_value_type::F64 => wasm_value { f64: f64::from_bits(raw.get_f64()) },
            });
        }
        let mut call = self.begin(caller)?;
        let callback = &self.callback;
        // SAFETY: the host passed function and data together. As many arguments as the signature has were written
        // above. There is room for the most results that a signature can have. Everything lives until after the call.
        let answer =
            unsafe { (callback.call)(callback.data, &raw mut call, args.as_ptr().cast(), results.as_mut_ptr().cast()) };
        Ok(call.ended(answer, "it"))
    }

    /// A call with the guest's memory. The memory does not change until the call ends: the guest waits for the call
    /// and its engine is busy.
    fn begin(&self, caller: &mut Caller<'_, GuestState>) -> Result<wasm_call, Fault> {
        let (memory, state) = GuestMemory::of(caller, "a host function")?;
        let (engine, user_data) = (state.context.owner.get(), state.context.user_data.get());
        // SAFETY: the memory does not move and has no other user until the guest continues. The same holds for the
        // results.
        Ok(unsafe { wasm_call::of_guest(memory.into_bytes(), engine, user_data, &self.results) })
    }

    fn write(&self, values: &mut [MaybeUninit<ValRaw>], results: &Results) {
        for ((raw, value), ty) in values.iter_mut().zip(results).zip(&*self.results) {
            // SAFETY: `room` initialized as many values as there are result types. Every member is plain bits.
            let value = unsafe {
                let value = value.assume_init_ref();
                match ty {
                    wasm_value_type::I32 => ValRaw::i32(value.i32),
                    wasm_value_type::I64 => ValRaw::i64(value.i64),
                    wasm_value_type::F32 => ValRaw::f32(value.f32.to_bits()),
                    wasm_value_type::F64 => ValRaw::f64(value.f64.to_bits()),
                }
            };
            raw.write(value);
        }
    }

    fn fault(&self, why: String) -> Fault {
        Fault::Host { function: format!("{}.{}", self.module, self.name), why }
    }
}

#[cfg(test)]
impl HostFunction {
    /// `host.NAME` with so many parameters. Nobody calls it.
    ///
    /// # Safety
    ///
    /// `drop` may be called once with `data`, on any thread.
    pub unsafe fn uncalled(
        name: &str,
        params: usize,
        may_wait: bool,
        data: *mut c_void,
        drop: Option<unsafe extern "C" fn(data: *mut c_void)>,
    ) -> Self {
        unsafe extern "C" fn call(_: *mut c_void, _: *mut wasm_call, _: *const wasm_value, _: *mut wasm_value) -> u32 {
            unreachable!("nobody calls it")
        }
        Self {
            module: "host".into(),
            name: name.into(),
            params: vec![wasm_value_type::I32; params],
            results: Arc::new([wasm_value_type::I32]),
            may_wait,
            // SAFETY: the caller says so. `call` does not use the data.
            callback: unsafe { Owned::new(Callback { data, drop, call }) },
        }
    }
}
