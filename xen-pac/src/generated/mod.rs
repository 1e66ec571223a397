pub mod hypercall;
