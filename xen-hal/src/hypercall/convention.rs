//! The trait that every way of reaching the hypervisor implements.

/// A way to reach the hypervisor.
///
/// One method for each number of arguments, so that a backend can be inlined to the bare
/// instruction sequence, and no generics, so that `&dyn Hypercall` works. A number and its
/// arguments are machine words, the answer is a signed one: use [`check`](super::check) to tell
/// results from errors, or better the typed calls of [`Commands`](super::Commands), which know what
/// each command takes.
///
/// # Implementation safety
///
/// None is asked of the implementor beyond honesty: `callN` performs hypercall `number` with
/// exactly these arguments, in this order, on the calling vCPU, or does what the hypervisor would
/// do. It returns only once the hypervisor has finished, with memory visible as the hypervisor left
/// it.
pub trait Hypercall {
    /// Makes a hypercall without arguments. The answer is the hypervisor's, negative errors
    /// included.
    ///
    /// # Safety
    ///
    /// The hypervisor does what the number and the arguments say, to memory too: every address
    /// among the arguments must be valid for what the hypercall reads and writes there, and what it
    /// does to the domain (a page that goes away, a vCPU that starts) must be something that the
    /// rest of the program expects.
    unsafe fn call0(&self, number: u32) -> isize;

    /// Makes a hypercall with one argument.
    ///
    /// # Safety
    ///
    /// As for [`call0`](Self::call0).
    unsafe fn call1(&self, number: u32, a: usize) -> isize;

    /// Makes a hypercall with two arguments.
    ///
    /// # Safety
    ///
    /// As for [`call0`](Self::call0).
    unsafe fn call2(&self, number: u32, a: usize, b: usize) -> isize;

    /// Makes a hypercall with three arguments.
    ///
    /// # Safety
    ///
    /// As for [`call0`](Self::call0).
    unsafe fn call3(&self, number: u32, a: usize, b: usize, c: usize) -> isize;

    /// Makes a hypercall with four arguments.
    ///
    /// # Safety
    ///
    /// As for [`call0`](Self::call0).
    unsafe fn call4(&self, number: u32, a: usize, b: usize, c: usize, d: usize) -> isize;

    /// Makes a hypercall with five arguments.
    ///
    /// # Safety
    ///
    /// As for [`call0`](Self::call0).
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize;
}

/// A borrowed backend is a backend.
impl<H: Hypercall + ?Sized> Hypercall for &H {
    #[inline(always)]
    unsafe fn call0(&self, number: u32) -> isize {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).call0(number) }
    }

    #[inline(always)]
    unsafe fn call1(&self, number: u32, a: usize) -> isize {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).call1(number, a) }
    }

    #[inline(always)]
    unsafe fn call2(&self, number: u32, a: usize, b: usize) -> isize {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).call2(number, a, b) }
    }

    #[inline(always)]
    unsafe fn call3(&self, number: u32, a: usize, b: usize, c: usize) -> isize {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).call3(number, a, b, c) }
    }

    #[inline(always)]
    unsafe fn call4(&self, number: u32, a: usize, b: usize, c: usize, d: usize) -> isize {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).call4(number, a, b, c, d) }
    }

    #[inline(always)]
    unsafe fn call5(&self, number: u32, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
        // SAFETY: the caller's promise is the same.
        unsafe { (**self).call5(number, a, b, c, d, e) }
    }
}
