//! The device memory that the tiles of a product read.

/// The tiles of a product, in the order in which blocks compute them: bands of `group` rows of tiles, each column by column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TileGrid {
    /// Rows of outputs.
    pub rows: u64,
    /// Columns of outputs.
    pub columns: u64,
    /// Products that share no factor.
    pub batches: u64,
    /// Terms of each sum.
    pub terms: u64,
    /// Rows and columns of a tile.
    pub tile: [u64; 2],
    /// Rows of tiles in a band.
    pub group: u64,
    /// Bytes of one term of a row, and of a column.
    pub bytes: [f64; 2],
}

impl TileGrid {
    /// Returns the bytes that are read if so many tiles are computed at once, and each such wave reads what its tiles share once.
    ///
    /// ```
    /// use energy_kernel_compiler::estimate::TileGrid;
    ///
    /// let grid = TileGrid {
    ///     rows: 1024,
    ///     columns: 1024,
    ///     batches: 1,
    ///     terms: 512,
    ///     tile: [128, 128],
    ///     group: 1,
    ///     bytes: [2.0, 2.0],
    /// };
    /// // All tiles at once, and one row of tiles at a time.
    /// assert_eq!(grid.wave_bytes(64), 2.0 * 1024.0 * 1024.0);
    /// assert_eq!(grid.wave_bytes(8), 8.0 * (128.0 + 1024.0) * 1024.0);
    /// ```
    pub fn wave_bytes(&self, at_once: u64) -> f64 {
        let [tile_rows, tile_columns] = self.tile.map(|side| side.max(1));
        let row_tiles = self.rows.div_ceil(tile_rows).max(1);
        let column_tiles = self.columns.div_ceil(tile_columns).max(1);
        let of_batch = row_tiles.saturating_mul(column_tiles);
        let tiles = of_batch.saturating_mul(self.batches);
        let wave = at_once.clamp(1, tiles.max(1));
        let height = self.group.clamp(1, row_tiles);
        let within = wave.min(of_batch);
        let bands = within.div_ceil(height.saturating_mul(column_tiles));
        let rows = self.rows.min(bands.saturating_mul(height).saturating_mul(tile_rows));
        let columns = self.columns.min(within.div_ceil(height).saturating_mul(tile_columns));
        let lines = rows as f64 * self.bytes[0] + columns as f64 * self.bytes[1];
        let waves = tiles as f64 / wave as f64;
        let batches = (wave as f64 / of_batch as f64).max(1.0);
        waves * batches * self.terms as f64 * lines
    }
}
