//! The memory of a component; without the crate's feature `heap` a component brings its own or has that of the standard library.
//!
//! Memory that an instance grows by costs the host two changes of its page tables, one at once and one when the instance is gone,
//! and each of them holds up every thread. So there is an arena from the beginning, which is enough for most calls.

use std::{alloc::Layout, arch::wasm32::memory_grow, mem::MaybeUninit, ptr::NonNull};

use talc::{
    base::{Talc, binning::Binning},
    cell::TalcSyncCell,
    source::Source,
    wasm::WasmBinning,
};

/// Bytes of the arena. The module has none of them, and of an instance only what was used takes up memory of the host.
const ARENA: usize = 512 << 10;
/// Bytes of a page of WebAssembly.
const PAGE: usize = 64 << 10;
/// The memory grows by no fewer pages at a time.
const MIN_PAGES: usize = 4;
/// What a block takes beside its own bytes is less.
const OVERHEAD: usize = 128;

static mut MEMORY: [MaybeUninit<u8>; ARENA] = [MaybeUninit::uninit(); ARENA];

#[global_allocator]
static HEAP: TalcSyncCell<Memory, WasmBinning> = TalcSyncCell::new_wasm(Memory { has_arena: true, end: None });

/// Where the memory comes from.
#[derive(Debug)]
struct Memory {
    /// Whether the arena is still to be had.
    has_arena: bool,
    /// The end of what it was grown by.
    end: Option<NonNull<u8>>,
}

// SAFETY: it allocates nothing.
unsafe impl Source for Memory {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if std::mem::take(&mut talc.source.has_arena) {
            // SAFETY: nobody else touches the arena, and it is claimed once.
            unsafe { talc.claim((&raw mut MEMORY).cast(), ARENA) };
            return Ok(());
        }
        let bytes = layout.size().saturating_add(layout.align()).saturating_add(OVERHEAD);
        let pages = bytes.div_ceil(PAGE).max(MIN_PAGES);
        let before = memory_grow::<0>(pages);
        if before == usize::MAX {
            return Err(());
        }
        let start = std::ptr::without_provenance_mut::<u8>(before * PAGE);
        let bytes = pages * PAGE;
        // SAFETY: the pages are new; where they follow on those before, these are the end of a heap.
        talc.source.end = unsafe {
            match talc.source.end.take().filter(|end| end.as_ptr() == start) {
                Some(end) => Some(talc.extend(end, start.wrapping_add(bytes))),
                None => talc.claim(start, bytes),
            }
        };
        Ok(())
    }
}
